import { useEffect, useState } from 'preact/hooks';
import { can, info } from './live.ts';
import { AgentPage } from './pages/agent.tsx';
import { AgentsPage } from './pages/agents.tsx';
import { GridPage } from './pages/grid.tsx';
import { SignInPage } from './pages/signin.tsx';
import { Asked } from './parts/actions.tsx';
import { Button } from './parts/button.tsx';
import { Toasts } from './parts/toast.tsx';
import { type Theme, theme } from './prefs.ts';
import { agentsLink, gridLink, route } from './router.ts';
import { agentById, keepLive, loaded, stale } from './service/agents.ts';
import { api, signedIn } from './service/api.ts';
import { key } from './service/key.ts';
import { Problem } from './service/problem.ts';

/** The whole page: who you are first, then where you want to be. */
export function App({ code }: { code: string | null }) {
  const [failed, setFailed] = useState<Problem | null>(null);

  useEffect(() => {
    void begin(code, setFailed);
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
async function begin(code: string | null, setFailed: (problem: Problem | null) => void): Promise<void> {
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
    retried(() => recognise(code, setFailed)),
  ]);
}

/** Sign in with the link's code if there is one, else find out whether we already are. */
async function recognise(code: string | null, setFailed: (problem: Problem | null) => void): Promise<void> {
  const refused = (error: unknown): true => {
    if (Problem.of(error).status !== 401) throw error;
    return true;
  };
  const isOld = code !== null && (await api.signIn({ code }).then(() => false, refused));
  setFailed(isOld ? new Problem(401, 'old-link', 'That sign-in link has been used or is too old.', 'Get a new one with `agent ui`, or give the token.') : null);
  // With an old link, a browser that is signed in stays so. A 401 shows the sign-in page.
  if (code === null || isOld) {
    await api.agents(1).then(() => {
      signedIn.value = true;
    }, refused);
  }
}

const THEMES: { value: Theme; label: string }[] = [
  { value: 'system', label: 'System' },
  { value: 'light', label: 'Light' },
  { value: 'dark', label: 'Dark' },
];

function Header({ signedIn: known }: { signedIn: boolean }) {
  const at = route.value.page;
  return (
    <header class="top">
      <a class="brand" href={agentsLink}>
        <img src="/favicon.svg" alt="agentd" width="22" height="22" />
        <span aria-hidden="true">agentd</span>
      </a>
      {known && (
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
