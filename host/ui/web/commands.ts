import { can, may, mayAll } from './live.ts';
import { openHelp, openSearch } from './opened.ts';
import { askRemove, askStop, isActive, restart } from './parts/actions.tsx';
import { askNew } from './parts/create.tsx';
import { sidebar, THEMES, theme } from './prefs.ts';
import { agentLink, agentsLink, go, gridLink, route } from './router.ts';
import { agentById, agents, canSome } from './service/agents.ts';
import type { Agent } from './service/wire.ts';
import { goToWaiting } from './shortcuts.ts';
import { signOut } from './signout.ts';
import { DOINGS, doing, sorted, waiting } from './text/doing.ts';
import { kindOf } from './text/kind.ts';

/** Something that can be done by its name. */
export interface Command {
  id: string;
  label: string;
  /** What is beside it, and found by as well. */
  note: string;
  run(): void;
}

/** All that can be done now, the likeliest first. */
export function commands(): Command[] {
  const at = route.value;
  const agent = at.page === 'agent' ? agentById(at.id) : undefined;
  return [...agentCommands(agent), ...agentLinks(agent), ...pageCommands()];
}

const command = (id: string, label: string, run: () => void, note = ''): Command => ({ id, label, note, run });

function agentCommands(agent: Agent | undefined): Command[] {
  if (!agent) return [];
  const { id, name } = agent;
  const views = [can(agent, 'terminal') ? 'terminal' : '', 'logs', mayAll() ? 'changes' : '', 'details'].filter(Boolean);
  const list = views.map((view) => command(`view-${view}`, `Show the ${view}`, () => go(agentLink(id, view)), name));
  if (may('admin')) {
    if (isActive(agent)) list.push(command('stop', 'Stop', () => askStop(agent), name));
    list.push(command('restart', 'Restart', () => restart(agent), name));
    list.push(command('delete', 'Delete', () => askRemove([agent], () => go(agentsLink)), name));
  }
  if (mayAll()) list.push(command('rename', 'Rename', () => go(agentLink(id, 'details')), name));
  if (mayAll()) list.push(command('duplicate', 'Duplicate', () => askNew(agent), name));
  return list;
}

/** Those that wait come first. */
const agentLinks = (but: Agent | undefined): Command[] =>
  sorted(agents.value, 'waiting')
    .filter((agent) => agent !== but)
    .map((agent) => command(`agent-${agent.id}`, agent.name, () => go(agentLink(agent.id)), [DOINGS[doing(agent)], kindOf(agent)].filter(Boolean).join(' · ')));

function pageCommands(): Command[] {
  const list = [command('agents', 'All agents', () => go(agentsLink))];
  if (waiting(agents.value).length > 0) list.unshift(command('waiting', 'Next agent that waits', goToWaiting));
  if (canSome('terminal')) list.push(command('grid', 'Grid of terminals', () => go(gridLink)));
  if (mayAll()) list.push(command('new', 'New agent', () => askNew()));
  list.push(command('search', 'Search what agents wrote', () => openSearch(), 'find output logs'));
  list.push(command('side', sidebar.value ? 'Hide other agents beside one' : 'Show other agents beside one', () => (sidebar.value = !sidebar.value)));
  for (const { value, label } of THEMES) {
    if (value !== theme.value) list.push(command(`theme-${value}`, `Theme: ${label}`, () => (theme.value = value)));
  }
  list.push(command('help', 'Keys', openHelp, 'help'), command('out', 'Sign out', signOut));
  return list;
}

/** What is called so may be nothing that can be done, but something that an agent wrote. */
export const searchFor = (text: string): Command => command('search-for', `Search what agents wrote: ${text.trim()}`, () => openSearch(text.trim()));

/** Those in which each word is found, those whose label begins with the text first. */
export function matching(list: Command[], text: string): Command[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = list.filter(({ label, note }) => words.every((word) => `${label} ${note}`.toLowerCase().includes(word)));
  const begins = ({ label }: Command) => label.toLowerCase().startsWith(text.trim().toLowerCase());
  return [...found.filter(begins), ...found.filter((one) => !begins(one))];
}
