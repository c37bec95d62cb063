import { useLingui } from '@lingui/react/macro'
import { SlidersHorizontal } from 'lucide-react'
import { IconButton } from '@/ui/button'
import { Menu, MenuChoice, MenuContent, MenuSeparator, MenuTrigger } from '@/ui/menu'
import { chooseLanguage, languages, type Language } from './languages'
import { chooseTheme, useThemeChoice } from './theme'

/** Language and theme, for everybody, signed in or not. */
export function PreferencesMenu() {
  const { t, i18n } = useLingui()
  const theme = useThemeChoice()
  const tongues = Object.keys(languages) as Language[]
  return (
    <Menu>
      <MenuTrigger asChild>
        <IconButton label={t`Language and theme`}>
          <SlidersHorizontal aria-hidden className="size-5" />
        </IconButton>
      </MenuTrigger>
      <MenuContent>
        <MenuChoice
          label={t`Language`}
          value={i18n.locale as Language}
          onChoose={(language) => void chooseLanguage(language)}
          choices={tongues.map((language) => ({
            value: language,
            text: languages[language],
            lang: language,
          }))}
        />
        <MenuSeparator />
        <MenuChoice
          label={t`Theme`}
          value={theme}
          onChoose={chooseTheme}
          choices={[
            { value: 'system', text: t`As the system` },
            { value: 'dark', text: t`Dark` },
            { value: 'light', text: t`Light` },
          ]}
        />
      </MenuContent>
    </Menu>
  )
}
