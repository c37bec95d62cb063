import { queryOptions } from '@tanstack/react-query'
import { client, type Schemas } from '@/api/client'

export type RegistrationMode = Schemas['RegistrationMode']
export type RegistrationInvite = Schemas['RegistrationInvite']
export type NewRegistrationInvite = Schemas['NewRegistrationInvite']

/** Who may make an account. */
export const registrationQuery = queryOptions({
  queryKey: ['registration'],
  queryFn: async ({ signal }): Promise<RegistrationMode> => {
    const { data } = await client.GET('/api/v1/registration', { signal })
    return data?.mode ?? 'open'
  },
})

/** The links that are good by which accounts can be made, newest first; for administrators. */
export const registrationInvitesQuery = queryOptions({
  queryKey: ['registration', 'invites'],
  queryFn: async ({ signal }): Promise<RegistrationInvite[]> => {
    const { data } = await client.GET('/api/v1/admin/registration-invites', { signal })
    return data?.items ?? []
  },
})
