import { effect, signal } from '@preact/signals';
import { EVERYTHING, type List, listQuery, parseList } from './text/list.ts';

/**
 * Where in the UI we are. It lives in the fragment, as the paths belong to
 * the service: `/agents/x` is its answer about an agent, not our page.
 */
export type Route =
  | { page: 'agents'; list: List }
  | { page: 'agent'; id: string; tab: string | null }
  | { page: 'grid' }
  | { page: 'lost' };

export function parseRoute(fragment: string): Route {
  const [path = '', query = ''] = fragment.replace(/^#?\/?/, '').split('?', 2);
  const [first, ...rest] = path.split('/').filter(Boolean).map(decode);
  if (first === 'agents' && rest[0]) return { page: 'agent', id: rest[0], tab: rest[1] ?? null };
  if (first === undefined || first === 'agents') return { page: 'agents', list: parseList(query) };
  if (first === 'grid') return { page: 'grid' };
  return { page: 'lost' };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const agentsLink = '#/';
export const listLink = (list: List): string => `${agentsLink}${listQuery(list)}`;
export const gridLink = '#/grid';
export const agentLink = (id: string, tab?: string): string =>
  `#/agents/${encodeURIComponent(id)}${tab ? `/${tab}` : ''}`;

export const route = signal<Route>(parseRoute(location.hash));

/** The list as it was looked at last, to go back to. */
export const lastList = signal<List>(EVERYTHING);

effect(() => {
  if (route.value.page === 'agents') lastList.value = route.value.list;
});

addEventListener('hashchange', () => {
  route.value = parseRoute(location.hash);
});

export function go(link: string): void {
  location.hash = link;
}

/** Like `go`, without a step in the history. */
export function settle(link: string): void {
  history.replaceState(null, '', link);
  route.value = parseRoute(location.hash);
}

/** What a link signs in with. */
export type Pass = { code: string } | { token: string };

/** The one-time code of a sign-in link or the token of a link to an agent, taken out of the address so that it stays nowhere. */
export function takePass(): Pass | null {
  const [, kind, word] = /^#(code|link)=([^&]+)/.exec(location.hash) ?? [];
  if (!word) return null;
  history.replaceState(null, '', location.pathname);
  route.value = parseRoute('');
  return kind === 'code' ? { code: decode(word) } : { token: decode(word) };
}
