import { expect, test } from 'vitest';
import { labelsLine, labelText, parseLabels } from '../../web/text/labels.ts';

test('labels are read as they are typed', () => {
  expect(parseLabels(' team=a  urgent url=x=y ').labels).toEqual({ team: 'a', urgent: '', url: 'x=y' });
  expect(parseLabels('note="two words" empty=').labels).toEqual({ note: 'two words', empty: '' });
  expect(parseLabels('')).toEqual({ labels: {}, complaint: null });
});

test('an invalid label is refused', () => {
  expect(parseLabels('=a').complaint).toContain('not the key');
  expect(parseLabels('-a=b').complaint).toContain('“-a”');
  expect(parseLabels(`${'k'.repeat(64)}=b`).complaint).not.toBeNull();
  expect(parseLabels('a="b').complaint).toContain('quote');
});

test('labels are shown, and written as they are read', () => {
  expect(labelText('team', 'a')).toBe('team=a');
  expect(labelText('urgent', '')).toBe('urgent');
  const labels = { team: 'a', note: 'two words', urgent: '' };
  expect(parseLabels(labelsLine(labels)).labels).toEqual(labels);
  expect(labelsLine()).toBe('');
});
