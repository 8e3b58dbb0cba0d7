import { beforeAll, expect, test } from 'vitest';

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
  ['', { page: 'agents' }],
  ['#/', { page: 'agents' }],
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

test.each([
  ['#code=abc%2Fd', { code: 'abc/d' }],
  ['#link=agt_0_1', { token: 'agt_0_1' }],
])('%s is taken once and leaves no trace', (fragment, expected) => {
  location.hash = fragment;
  expect(router.takePass()).toEqual(expected);
  expect(location.hash).toBe('');
  expect(router.takePass()).toBeNull();
});
