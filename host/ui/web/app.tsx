import { useEffect, useLayoutEffect, useState } from 'preact/hooks';
import { info, me } from './live.ts';
import { notifyOfWaiting, showCount } from './notify.ts';
import { AgentPage } from './pages/agent.tsx';
import { AgentsPage } from './pages/agents.tsx';
import { GridPage } from './pages/grid.tsx';
import { SignInPage } from './pages/signin.tsx';
import { Asked } from './parts/actions.tsx';
import { Creating } from './parts/create.tsx';
import { Help } from './parts/help.tsx';
import { Palette } from './parts/palette.tsx';
import { Labelling } from './parts/relabel.tsx';
import { Search } from './parts/search.tsx';
import { Toasts } from './parts/toast.tsx';
import { Top } from './parts/top.tsx';
import { agentsLink, type Pass, route } from './router.ts';
import { agentById, agents, keepLive, loaded, stale } from './service/agents.ts';
import { api, signedIn } from './service/api.ts';
import { Problem } from './service/problem.ts';
import { listenForKeys } from './shortcuts.ts';
import { waiting } from './text/doing.ts';

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
    notifyOfWaiting(stop.signal);
    return () => stop.abort();
  }, [known]);
  // Not after the paint: who sees the page may press a key.
  useLayoutEffect(() => {
    if (!known) return;
    const stop = new AbortController();
    listenForKeys(stop.signal);
    return () => stop.abort();
  }, [known]);

  const at = route.value;
  const { page } = at;
  const name = at.page === 'agent' ? agentById(at.id)?.name : undefined;
  const waits = known ? waiting(agents.value).length : 0;
  useEffect(() => {
    const titles = { agents: 'Agents', agent: name ?? 'Agent', grid: 'Grid', lost: 'Nothing here' };
    document.title = `${waits > 0 ? `(${waits}) ` : ''}${known === false ? 'Sign in' : titles[page]} · agentd`;
    showCount(waits);
  }, [page, name, known, waits]);

  if (known === false) {
    return (
      <>
        <Top signedIn={false} />
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
      <Top signedIn={known === true} />
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
      <Creating />
      <Asked />
      <Labelling />
      <Palette />
      <Search />
      <Help />
      <Toasts />
    </>
  );
}

function Page() {
  const at = route.value;
  const only = me.value?.agent;
  // A link to one agent leads nowhere else.
  if (only && !(at.page === 'agent' && at.id === only)) return <AgentPage id={only} tab={null} />;
  switch (at.page) {
    case 'agents':
      return <AgentsPage list={at.list} />;
    case 'agent':
      return <AgentPage id={at.id} tab={at.tab} />;
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
