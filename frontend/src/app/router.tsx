import type { QueryClient } from '@tanstack/react-query'
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  parseSearchWith,
  redirect,
  stringifySearchWith,
  type RouterHistory,
} from '@tanstack/react-router'
import { ownAddress } from '@/api/own-address'
import { channelQuery, type Channel } from '@/features/channels/queries'
import { session } from '@/features/accounts/session'
import { LateRecordingPlayer } from '@/features/recordings/late-recording-player'
import { recordingQuery } from '@/features/recordings/queries'
import { LatePlayer } from '@/features/streams/late-player'
import { liveStreamsQuery } from '@/features/streams/queries'
import type { RouterContext } from './context'
import { NotFoundPage } from './not-found-page'
import { FailurePage } from './failure-page'
import { Shell } from './shell'

const root = createRootRouteWithContext<RouterContext>()({
  component: Shell,
  notFoundComponent: NotFoundPage,
})

/** Where to go after signing in: only paths of this origin. */
function ownPath(value: unknown): string | undefined {
  return typeof value === 'string' && /^\/(?![/\\])/.test(value) ? value : undefined
}

/** The router takes what looks like a number for one, where it can be turned back without a loss. */
function text(value: unknown): string | undefined {
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** What is live begins to load before the page around it is there. */
async function startPlaying(channel: Promise<Channel>): Promise<void> {
  const { loadEarly, loadNamed } = await import('@/features/streams/player/player')
  loadNamed()
  const { is_live: isLive, playback } = await channel
  if (isLive) loadEarly(ownAddress(playback.hls_url))
}

/** A loader only starts what the page's own query then waits for, and the query shows what fails. */
function showsInPage(): void {
  // Nothing is lost by not looking here.
}

async function needSession({ location }: { location: { href: string } }): Promise<void> {
  await session.ready()
  if (session.current().status === 'signed-out') {
    throw redirect({ to: '/sign-in', search: { next: location.href }, replace: true })
  }
}

const home = createRoute({
  getParentRoute: () => root,
  path: '/',
  loader: ({ context }) => {
    // Not awaited: the page shows its skeleton while cards and code load side by side.
    context.queryClient.infiniteQuery(liveStreamsQuery()).catch(showsInPage)
  },
  component: lazyRouteComponent(() => import('@/features/streams/home-page'), 'HomePage'),
})

const signIn = createRoute({
  getParentRoute: () => root,
  path: '/sign-in',
  // A refused value is overwritten, not left out: what a route leaves out stays as it came.
  validateSearch: (search): { next?: string | undefined } => ({ next: ownPath(search.next) }),
  component: lazyRouteComponent(() => import('@/features/accounts/sign-in-page'), 'SignInPage'),
})

const register = createRoute({
  getParentRoute: () => root,
  path: '/register',
  validateSearch: (search): { next?: string | undefined } => ({ next: ownPath(search.next) }),
  component: lazyRouteComponent(() => import('@/features/accounts/register-page'), 'RegisterPage'),
})

const resetPassword = createRoute({
  getParentRoute: () => root,
  path: '/reset-password',
  component: lazyRouteComponent(() => import('@/features/accounts/reset-password-page'), 'ResetPasswordPage'),
})

const confirmEmail = createRoute({
  getParentRoute: () => root,
  path: '/confirm-email',
  beforeLoad: () => session.ready(),
  component: lazyRouteComponent(() => import('@/features/accounts/confirm-email-page'), 'ConfirmEmailPage'),
})

const invite = createRoute({
  getParentRoute: () => root,
  path: '/invite',
  component: lazyRouteComponent(() => import('@/features/invites/invite-page'), 'InvitePage'),
})

const newChannel = createRoute({
  getParentRoute: () => root,
  path: '/new-channel',
  beforeLoad: needSession,
  component: lazyRouteComponent(() => import('@/features/channels/create-channel-page'), 'CreateChannelPage'),
})

const dashboards = createRoute({
  getParentRoute: () => root,
  path: '/dashboard',
  beforeLoad: needSession,
  component: lazyRouteComponent(() => import('@/features/channels/own-channels-page'), 'OwnChannelsPage'),
})

const dashboard = createRoute({
  getParentRoute: () => root,
  path: '/dashboard/$handle',
  beforeLoad: needSession,
  component: lazyRouteComponent(() => import('@/features/channels/dashboard-page'), 'DashboardPage'),
})

const settings = createRoute({
  getParentRoute: () => root,
  path: '/settings',
  beforeLoad: needSession,
  component: lazyRouteComponent(() => import('@/features/accounts/settings-page'), 'SettingsPage'),
})

const privacy = createRoute({
  getParentRoute: () => root,
  path: '/settings/privacy',
  beforeLoad: needSession,
  component: lazyRouteComponent(() => import('@/features/privacy/privacy-page'), 'PrivacyPage'),
})

const activity = createRoute({
  getParentRoute: () => root,
  path: '/settings/activity',
  beforeLoad: needSession,
  component: lazyRouteComponent(() => import('@/features/audit/activity-page'), 'ActivityPage'),
})

/** Where one is when one's account is deleted, or is going to be. */
const deleted = createRoute({
  getParentRoute: () => root,
  path: '/settings/deleted',
  validateSearch: (search): { at?: string | undefined } => ({ at: text(search.at) }),
  component: lazyRouteComponent(() => import('@/features/privacy/deleted-page'), 'DeletedPage'),
})

const team = createRoute({
  getParentRoute: () => root,
  path: '/dashboard/$handle/team',
  beforeLoad: needSession,
  component: lazyRouteComponent(() => import('@/features/channels/team-page'), 'TeamPage'),
})

/** For administrators. A place under it is a child of it, and a line in features/administration/places.tsx. */
const admin = createRoute({
  getParentRoute: () => root,
  path: '/admin',
  beforeLoad: needSession,
  component: lazyRouteComponent(() => import('@/features/administration/admin-frame'), 'AdminFrame'),
})

const adminHome = createRoute({
  getParentRoute: () => admin,
  path: '/',
  component: lazyRouteComponent(() => import('@/features/administration/admin-frame'), 'AdminPage'),
})

const adminRegistration = createRoute({
  getParentRoute: () => admin,
  path: '/registration',
  component: lazyRouteComponent(
    () => import('@/features/registrations/registration-page'),
    'RegistrationPage',
  ),
})

const adminAudit = createRoute({
  getParentRoute: () => admin,
  path: '/audit',
  component: lazyRouteComponent(() => import('@/features/audit/audit-page'), 'AuditPage'),
})

const adminReports = createRoute({
  getParentRoute: () => admin,
  path: '/reports',
  component: lazyRouteComponent(() => import('@/features/reports/queue-page'), 'QueuePage'),
})

const adminAccounts = createRoute({
  getParentRoute: () => admin,
  path: '/accounts',
  component: lazyRouteComponent(() => import('@/features/administration/accounts-page'), 'AccountsPage'),
})

const account = createRoute({
  getParentRoute: () => root,
  path: '/accounts/$username',
  component: lazyRouteComponent(() => import('@/features/accounts/account-page'), 'AccountPage'),
})

const channel = createRoute({
  getParentRoute: () => root,
  path: '/$handle',
  loader: ({ context, params, cause }) => {
    // The player is the largest chunk: it travels beside the channel's data, not after it.
    LatePlayer.load().catch(showsInPage)
    const channel = context.queryClient.query(channelQuery(params.handle))
    channel.catch(showsInPage)
    // Not for a link that is only pointed at.
    if (cause === 'enter') startPlaying(channel).catch(showsInPage)
  },
  component: lazyRouteComponent(() => import('@/features/channels/channel-page'), 'ChannelPage'),
})

const videos = createRoute({
  getParentRoute: () => root,
  path: '/$handle/videos',
  component: lazyRouteComponent(() => import('@/features/recordings/videos-page'), 'VideosPage'),
})

const video = createRoute({
  getParentRoute: () => root,
  path: '/$handle/videos/$id',
  loader: ({ context, params }) => {
    context.queryClient.query(recordingQuery(params.id)).catch(showsInPage)
    LateRecordingPlayer.load().catch(showsInPage)
  },
  component: lazyRouteComponent(() => import('@/features/recordings/recording-page'), 'RecordingPage'),
})

const routes = root.addChildren([
  home,
  signIn,
  register,
  resetPassword,
  confirmEmail,
  invite,
  newChannel,
  dashboards,
  dashboard,
  team,
  admin.addChildren([adminHome, adminReports, adminAccounts, adminAudit, adminRegistration]),
  settings,
  privacy,
  activity,
  deleted,
  account,
  channel,
  videos,
  video,
])

export function createWeirRouter(queryClient: QueryClient, history?: RouterHistory) {
  return createRouter({
    ...(history === undefined ? {} : { history }),
    routeTree: routes,
    context: { queryClient },
    defaultPreload: 'intent',
    defaultPreloadStaleTime: 0,
    // Values in addresses are text, not JSON.
    parseSearch: parseSearchWith((value) => value),
    stringifySearch: stringifySearchWith(String),
    scrollRestoration: true,
    defaultErrorComponent: FailurePage,
    defaultPendingMs: 0,
    defaultPendingMinMs: 0,
  })
}

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof createWeirRouter>
  }
}
