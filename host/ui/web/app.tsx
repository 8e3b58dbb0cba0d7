import { useEffect, useState } from 'preact/hooks';
import { can, info, me } from './live.ts';
import { AgentPage } from './pages/agent.tsx';
import { AgentsPage } from './pages/agents.tsx';
import { GridPage } from './pages/grid.tsx';
import { SignInPage } from './pages/signin.tsx';
import { Asked } from './parts/actions.tsx';
import { Button } from './parts/button.tsx';
import { Toasts } from './parts/toast.tsx';
import { type Theme, theme } from './prefs.ts';
import { agentLink, agentsLink, gridLink, type Pass, route } from './router.ts';
import { agentById, keepLive, loaded, stale } from './service/agents.ts';
import { api, signedIn } from './service/api.ts';
import { key } from './service/key.ts';
import { Problem } from './service/problem.ts';

/** The whole page: who you are first, then where you want to be. */
export function App({ pass }: { pass: Pass | null }) {
  const [failed, setFailed] = useState<Problem | null>(null);

  useEffect(() => {
    void begin(pass, setFailed);
  }, []);

  const known = signedIn.value;
  useEffect(() => {
    if (!known) return;
    const stop = new AbortController();
    keepLive(stop.signal);
    return () => stop.abort();
  }, [known]);

  const at = route.value;
  const { page } = at;
  const name = at.page === 'agent' ? agentById(at.id)?.name : undefined;
  useEffect(() => {
    const titles = { agents: 'Agents', agent: name ?? 'Agent', grid: 'Grid', lost: 'Nothing here' };
    document.title = `${known === false ? 'Sign in' : titles[page]} · agentd`;
  }, [page, name, known]);

  if (known === false) {
    return (
      <>
        <Header signedIn={false} />
        <SignInPage failed={failed} />
        <Toasts />
      </>
    );
  }
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        To the content
      </a>
      <Header signedIn={known === true} />
      {loaded.value && stale.value && (
        <div class="strip" role="status">
          {stale.value.message} What you see may be old; trying again…
        </div>
      )}
      {known === null || info.value === null ? (
        <main class="page" id="main">
          <p class="faint">{failed ? `${failed.message} Trying again…` : 'Loading…'}</p>
        </main>
      ) : (
        <Page />
      )}
      <Asked />
      <Toasts />
    </>
  );
}

function Page() {
  const at = route.value;
  const only = me.value?.agent;
  // A link to one agent leads nowhere else.
  if (only && !(at.page === 'agent' && at.id === only)) return <AgentPage key={only} id={only} tab={null} />;
  switch (at.page) {
    case 'agents':
      return <AgentsPage />;
    case 'agent':
      return <AgentPage key={at.id} id={at.id} tab={at.tab} />;
    case 'grid':
      return <GridPage />;
    default:
      return (
        <main class="page" id="main">
          <h1>Nothing here</h1>
          <p>
            <a href={agentsLink}>All agents</a>
          </p>
        </main>
      );
  }
}

/** The link's fragment belongs to the router, so the skip link moves the focus itself. */
function skip(event: Event): void {
  event.preventDefault();
  const main = document.getElementById('main');
  main?.setAttribute('tabindex', '-1');
  main?.focus();
}

/** Learn what the service can do, and who we are; neither waits for the other. */
async function begin(pass: Pass | null, setFailed: (problem: Problem | null) => void): Promise<void> {
  const retried = async (ask: () => Promise<void>) => {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        setFailed(Problem.of(error));
        await new Promise((resolve) => setTimeout(resolve, 2000));
      }
    }
  };
  await Promise.all([
    retried(async () => {
      info.value = await api.info();
    }),
    retried(() => recognise(pass, setFailed)),
  ]);
}

/** Sign in with the link if there is one, else find out whether we already are. */
async function recognise(pass: Pass | null, setFailed: (problem: Problem | null) => void): Promise<void> {
  const refused = (error: unknown): true => {
    if (Problem.of(error).status !== 401) throw error;
    return true;
  };
  // A link to an agent is for this tab alone: the others stay signed in as they are.
  const isOld = pass !== null && (await api.signIn(pass, 'token' in pass).then(() => false, refused));
  const isOfAgent = pass !== null && 'token' in pass;
  const old = isOfAgent
    ? new Problem(401, 'old-link', 'That link has expired or was taken back.', 'Ask for a new one.')
    : new Problem(401, 'old-link', 'That sign-in link has been used or is too old.', 'Get a new one with `agent ui`, or give the token.');
  setFailed(isOld ? old : null);
  // With an old link, a browser that is signed in stays so. A 401 shows the sign-in page.
  if (pass === null || (isOld && !isOfAgent)) await api.recognise().catch(refused);
}

const THEMES: { value: Theme; label: string }[] = [
  { value: 'system', label: 'System' },
  { value: 'light', label: 'Light' },
  { value: 'dark', label: 'Dark' },
];

function Header({ signedIn: known }: { signedIn: boolean }) {
  const at = route.value.page;
  const only = me.value?.agent;
  return (
    <header class="top">
      <a class="brand" href={only ? agentLink(only) : agentsLink}>
        <img src="/favicon.svg" alt="agentd" width="22" height="22" />
        <span aria-hidden="true">agentd</span>
      </a>
      {known && !only && (
        <nav aria-label="Pages">
          <a href={agentsLink} {...(at === 'agents' ? { 'aria-current': 'page' } : {})}>
            Agents
          </a>
          {can('terminal') && (
            <a href={gridLink} {...(at === 'grid' ? { 'aria-current': 'page' } : {})}>
              Grid
            </a>
          )}
        </nav>
      )}
      <span class="gap" />
      {info.value && (
        <span class="backend" title={`Version ${info.value.version}. Capabilities: ${info.value.capabilities.join(', ') || 'none'}`}>
          {info.value.backend_type}
        </span>
      )}
      <label>
        <span class="sr">Theme</span>
        <select value={theme.value} onChange={(event) => (theme.value = event.currentTarget.value as Theme)}>
          {THEMES.map(({ value, label }) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      </label>
      {known && key() !== null && <Button onClick={() => void api.signOut()}>Sign out</Button>}
    </header>
  );
}
