import { info, me } from '../live.ts';
import { askToNotify, canNotify } from '../notify.ts';
import { openPalette } from '../opened.ts';
import { notify, type Theme, THEMES, theme } from '../prefs.ts';
import { agentLink, gridLink, lastList, listLink, route } from '../router.ts';
import { canSome } from '../service/agents.ts';
import { key } from '../service/key.ts';
import { signOut } from '../signout.ts';
import { PALETTE_KEYS } from '../text/keys.ts';
import { Button, Tool } from './button.tsx';
import { Icon } from './icon.tsx';

/** The line on top of every page. */
export function Top({ signedIn: known }: { signedIn: boolean }) {
  const at = route.value.page;
  const only = me.value?.agent;
  const all = listLink(lastList.value);
  return (
    <header class="top">
      <a class="brand" href={only ? agentLink(only) : all}>
        <img src="/favicon.svg" alt="agentd" width="22" height="22" />
        <span aria-hidden="true">agentd</span>
      </a>
      {known && !only && (
        <nav aria-label="Pages">
          <a href={all} {...(at === 'agents' ? { 'aria-current': 'page' } : {})}>
            Agents
          </a>
          {canSome('terminal') && (
            <a href={gridLink} {...(at === 'grid' ? { 'aria-current': 'page' } : {})}>
              Grid
            </a>
          )}
        </nav>
      )}
      <span class="gap" />
      {known && !only && (
        <button type="button" class="button find-all" title={PALETTE_KEYS} onClick={openPalette}>
          <Icon name="search" />
          <span>Go to…</span>
          <kbd aria-hidden="true">{PALETTE_KEYS}</kbd>
        </button>
      )}
      {known && !only && canNotify() && (
        <Tool icon="bell" label="Notify me when an agent waits" pressed={notify.value} onClick={() => void askToNotify()} />
      )}
      {info.value && (
        <span class="backend" title={`Version ${info.value.version}. Capabilities: ${info.value.capabilities.join(', ') || 'none'}`}>
          {info.value.backend_type}
        </span>
      )}
      <label class="theme">
        <span class="sr">Theme</span>
        <select value={theme.value} onChange={(event) => (theme.value = event.currentTarget.value as Theme)}>
          {THEMES.map(({ value, label }) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      </label>
      {known && key() !== null && <Button onClick={signOut}>Sign out</Button>}
    </header>
  );
}
