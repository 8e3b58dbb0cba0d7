import { expect, test } from 'vitest';
import { parseMax, policyDraft } from '../../web/text/policy.ts';

test('a bound is a whole number or nothing', () => {
  expect(parseMax('')).toEqual({ max: null, complaint: null });
  expect(parseMax(' 5 ')).toEqual({ max: 5, complaint: null });
  expect(parseMax('0').max).toBe(0);
  for (const wrong of ['-1', '1.5', '1e3', 'many', '9999999999']) {
    expect(parseMax(wrong).complaint, wrong).toContain('whole number');
  }
});

test('a policy is shown as it would be typed', () => {
  expect(policyDraft({})).toEqual({ restart: 'never', max: '' });
  expect(policyDraft({ restart: 'always', max_restarts: 0 })).toEqual({ restart: 'always', max: '0' });
});
