import { expect, test } from 'vitest';
import { collect, type DraftGroup, draftOf, emptyDraft, fieldsOf } from '../../web/service/options.ts';
import type { Schema } from '../../web/service/wire.ts';

const docker: Schema = {
  type: 'object',
  properties: {
    image: { type: 'string', description: 'The image.', default: 'agent:latest' },
    cpu_limit: { type: ['number', 'null'], minimum: 0.1 },
    memory_limit_mb: { type: 'integer', minimum: 16, maximum: 4096 },
    network_policy: { $ref: '#/$defs/Policy' },
    mounts: { type: 'array', items: { $ref: '#/$defs/Mount' } },
    tty: { type: 'boolean', default: false },
    dns: { type: 'array', items: { type: 'string' } },
    user: { anyOf: [{ type: 'string', pattern: '^[a-z]+$' }, { type: 'null' }] },
    labels: { type: 'object' },
  },
  $defs: {
    Policy: { oneOf: [{ const: 'internet', description: 'Everything.' }, { const: 'isolated', description: 'Nothing.' }] },
    Mount: {
      type: 'object',
      required: ['host_path', 'container_path'],
      properties: { host_path: { type: 'string' }, container_path: { type: 'string' }, read_only: { type: 'boolean', default: false } },
    },
  },
};

const fields = fieldsOf(docker);
const draft = (filled: DraftGroup): DraftGroup => ({ ...emptyDraft(fields), ...filled });
const options = (filled: DraftGroup) => collect(fields, draft(filled));

test('without a schema there are no fields', () => {
  expect(fieldsOf(null)).toEqual([]);
  expect(fieldsOf({ type: 'object' })).toEqual([]);
});

test('each property becomes a field of its kind', () => {
  expect(fields.map(({ name, shape }) => `${name}: ${shape.kind}`)).toEqual([
    'image: text',
    'cpu_limit: number',
    'memory_limit_mb: number',
    'network_policy: choice',
    'mounts: groups',
    'tty: flag',
    'dns: texts',
    'user: text',
    'labels: json',
  ]);
  expect(fields[0]).toMatchObject({ label: 'Image', help: 'The image.', fallback: 'agent:latest', required: false });
  expect(fields[1]?.label).toBe('CPU limit');
  expect(fields[2]?.label).toBe('Memory limit (MB)');
  expect(fields[3]?.shape).toMatchObject({ choices: [{ value: 'internet', help: 'Everything.' }, { value: 'isolated', help: 'Nothing.' }] });
});

test('empty fields are not sent', () => {
  expect(options({})).toEqual({ options: {}, complaints: {} });
});

test('values get their types', () => {
  const filled = {
    image: ' busybox ',
    cpu_limit: '1.5',
    memory_limit_mb: '512',
    network_policy: 'isolated',
    tty: 'true',
    dns: ['1.1.1.1', ''],
    labels: '{"a": 1}',
    mounts: [{ host_path: '/a', container_path: '/b', read_only: 'false' }],
  };
  expect(options(filled)).toEqual({
    options: {
      image: 'busybox',
      cpu_limit: 1.5,
      memory_limit_mb: 512,
      network_policy: 'isolated',
      tty: true,
      dns: ['1.1.1.1'],
      labels: { a: 1 },
      mounts: [{ host_path: '/a', container_path: '/b', read_only: false }],
    },
    complaints: {},
  });
});

test('errors are shown at their fields', () => {
  const { complaints } = options({
    cpu_limit: 'much',
    memory_limit_mb: '8',
    user: 'Root!',
    labels: '{',
    mounts: [{ host_path: '/a', container_path: '', read_only: '' }],
  });
  expect(complaints).toEqual({
    cpu_limit: 'This must be a number.',
    memory_limit_mb: 'This must be at least 16.',
    user: 'This must match ^[a-z]+$.',
    labels: 'This must be JSON.',
    'mounts.0.container_path': 'Container path is needed.',
  });
  expect(options({ memory_limit_mb: '20.5' }).complaints).toEqual({ memory_limit_mb: 'This must be a whole number.' });
});

test('an untouched group is left out with its required fields', () => {
  const nested = fieldsOf({
    type: 'object',
    properties: {
      layout: {
        type: 'object',
        required: ['type'],
        properties: { type: { enum: ['single', 'tiled'] }, panes: { type: 'integer' } },
      },
    },
  });
  expect(collect(nested, emptyDraft(nested))).toEqual({ options: {}, complaints: {} });
  expect(collect(nested, { layout: { type: 'tiled', panes: '4' } }).options).toEqual({ layout: { type: 'tiled', panes: 4 } });
  expect(collect(nested, { layout: { type: '', panes: '4' } }).complaints).toEqual({ 'layout.type': 'Type is needed.' });
});

test('a schema that refers to itself does not hang', () => {
  const loop: Schema = { type: 'object', properties: { a: { $ref: '#/$defs/A' } }, $defs: { A: { $ref: '#/$defs/A' } } };
  expect(fieldsOf(loop)[0]?.shape.kind).toBe('json');
});

test('options become the draft that gives them', () => {
  const all = { image: 'x', cpu_limit: 0.5, memory_limit_mb: 64, network_policy: 'isolated', mounts: [{ host_path: '/a', container_path: '/b', read_only: true }], tty: false, dns: ['1.1.1.1'], labels: { a: 1 } };
  expect(collect(fields, draftOf(fields, all))).toEqual({ options: all, complaints: {} });
  expect(draftOf(fields, {})).toEqual(emptyDraft(fields));
});
