import { beforeAll, expect, test } from 'vitest';
import { EVERYTHING } from '../../web/text/list.ts';

type Router = typeof import('../../web/router.ts');
let router: Router;

beforeAll(async () => {
  // The little of a browser that the router touches.
  const location = { hash: '', pathname: '/' };
  const history = {
    replaceState: (_: unknown, __: string, to: string) => {
      location.hash = to.includes('#') ? to.slice(to.indexOf('#')) : '';
    },
  };
  Object.assign(globalThis, { location, history, addEventListener: () => undefined });
  router = await import('../../web/router.ts');
});

test.each([
  ['', { page: 'agents', list: EVERYTHING }],
  ['#/', { page: 'agents', list: EVERYTHING }],
  ['#/?find=a%20b&label=x&doing=failed&backend=tmux&page=3', { page: 'agents', list: { text: 'a b', labels: ['x'], doing: 'failed', backend: 'tmux', page: 2 } }],
  ['#/agents/x%2Fy', { page: 'agent', id: 'x/y', tab: null }],
  ['#/agents/x/logs', { page: 'agent', id: 'x', tab: 'logs' }],
  ['#/grid', { page: 'grid' }],
  ['#/nowhere', { page: 'lost' }],
  ['#/agents/%zz', { page: 'agent', id: '%zz', tab: null }],
])('%j', (fragment, expected) => {
  expect(router.parseRoute(fragment)).toEqual(expected);
});

test('a link leads back to its page', () => {
  expect(router.parseRoute(router.agentLink('a/b', 'details'))).toEqual({ page: 'agent', id: 'a/b', tab: 'details' });
});

test('a link to a list leads back to it', () => {
  const list = { text: 'a & b', labels: ['team=a', 'urgent'], doing: 'waiting' as const, backend: 'tmux', page: 1 };
  expect(router.parseRoute(router.listLink(list))).toEqual({ page: 'agents', list });
  expect(router.listLink(EVERYTHING)).toBe(router.agentsLink);
});

test.each([
  ['#code=abc%2Fd', { code: 'abc/d' }],
  ['#link=agt_0_1', { token: 'agt_0_1' }],
])('%s is taken once and leaves no trace', (fragment, expected) => {
  location.hash = fragment;
  expect(router.takePass()).toEqual(expected);
  expect(location.hash).toBe('');
  expect(router.takePass()).toBeNull();
});
