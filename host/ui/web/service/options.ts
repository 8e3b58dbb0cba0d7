import type { Schema } from './wire.ts';

/** One thing to fill in, made from a backend's schema of its options. */
export interface Field {
  name: string;
  label: string;
  help: string;
  required: boolean;
  /** What the backend uses when nothing is filled in, as text. */
  fallback: string;
  shape: Shape;
}

export type Shape =
  | { kind: 'text'; pattern: string | null }
  | { kind: 'number'; whole: boolean; least: number | null; most: number | null }
  | { kind: 'flag' }
  | { kind: 'choice'; choices: { value: string; help: string }[] }
  | { kind: 'texts' }
  | { kind: 'group'; fields: Field[] }
  | { kind: 'groups'; fields: Field[] }
  /** Anything else is written as JSON. */
  | { kind: 'json' };

/** What has been filled in so far. An empty text means: leave it to the backend. */
export type Draft = string | string[] | DraftGroup | DraftGroup[];
export interface DraftGroup {
  [name: string]: Draft;
}

/** Complaints by path, such as `mounts.0.host_path`. */
export type Complaints = Record<string, string>;

export function fieldsOf(schema: Schema | null): Field[] {
  if (!schema) return [];
  return groupFields(plainSchema(schema, schema), schema);
}

function groupFields(group: Schema, root: Schema): Field[] {
  const required = new Set(group.required ?? []);
  return Object.entries(group.properties ?? {}).map(([name, raw]) => {
    const schema = plainSchema(raw, root);
    return {
      name,
      label: schema.title ?? humanise(name),
      help: schema.description ?? '',
      required: required.has(name) && schema.default === undefined,
      fallback: schema.default === undefined || schema.default === null ? '' : asText(schema.default),
      shape: shapeOf(schema, root),
    };
  });
}

function shapeOf(schema: Schema, root: Schema): Shape {
  const choices = choicesOf(schema);
  if (choices) return { kind: 'choice', choices };
  switch (typeOf(schema)) {
    case 'string':
      return { kind: 'text', pattern: schema.pattern ?? null };
    case 'integer':
    case 'number':
      return {
        kind: 'number',
        whole: typeOf(schema) === 'integer',
        least: schema.minimum ?? null,
        most: schema.maximum ?? null,
      };
    case 'boolean':
      return { kind: 'flag' };
    case 'array': {
      const items = plainSchema(schema.items ?? {}, root);
      if (typeOf(items) === 'string') return { kind: 'texts' };
      if (items.properties) return { kind: 'groups', fields: groupFields(items, root) };
      return { kind: 'json' };
    }
    case 'object':
      return schema.properties ? { kind: 'group', fields: groupFields(schema, root) } : { kind: 'json' };
    default:
      return { kind: 'json' };
  }
}

/** References followed, and `null` (the other way to say optional) taken out of alternatives. */
function plainSchema(schema: Schema, root: Schema, depth = 0): Schema {
  if (depth > 8) return schema;
  const { $ref, anyOf, oneOf, allOf, ...own } = schema;
  if ($ref) return plainSchema({ ...refer($ref, root), ...own }, root, depth + 1);
  if (allOf?.length === 1 && allOf[0]) return plainSchema({ ...allOf[0], ...own }, root, depth + 1);
  const alternatives = (anyOf ?? oneOf)?.filter((alternative) => alternative.type !== 'null');
  if (alternatives?.length === 1 && alternatives[0]) {
    return plainSchema({ ...alternatives[0], ...own }, root, depth + 1);
  }
  return schema;
}

function refer(ref: string, root: Schema): Schema {
  const path = ref.replace(/^#\/?/, '').split('/').filter(Boolean);
  let at: unknown = root;
  for (const step of path) at = (at as Record<string, unknown> | undefined)?.[step.replaceAll('~1', '/').replaceAll('~0', '~')];
  return (at ?? {}) as Schema;
}

function typeOf(schema: Schema): string | undefined {
  const types = Array.isArray(schema.type) ? schema.type.filter((type) => type !== 'null') : [schema.type];
  if (types.length === 1 && types[0]) return types[0];
  return schema.properties ? 'object' : schema.items ? 'array' : undefined;
}

function choicesOf(schema: Schema): { value: string; help: string }[] | null {
  const values = schema.enum?.filter((value) => value !== null);
  if (values?.every((value) => typeof value === 'string')) return values.map((value) => ({ value, help: '' }));
  const alternatives = (schema.oneOf ?? schema.anyOf)?.filter((alternative) => alternative.type !== 'null');
  if (!alternatives || alternatives.length === 0) return null;
  const choices: { value: string; help: string }[] = [];
  for (const alternative of alternatives) {
    const all = alternative.const !== undefined ? [alternative.const] : (alternative.enum ?? [null]);
    for (const value of all) {
      if (typeof value !== 'string') return null;
      choices.push({ value, help: alternative.description ?? '' });
    }
  }
  return choices;
}

export function emptyDraft(fields: Field[]): DraftGroup {
  return Object.fromEntries(fields.map((field) => [field.name, emptyOf(field.shape)]));
}

function emptyOf(shape: Shape): Draft {
  if (shape.kind === 'texts' || shape.kind === 'groups') return [];
  return shape.kind === 'group' ? emptyDraft(shape.fields) : '';
}

/** The draft with which `collect` gives these options. */
export function draftOf(fields: Field[], options: Record<string, unknown>): DraftGroup {
  return Object.fromEntries(fields.map(({ name, shape }) => [name, draftOfField(shape, options[name])]));
}

function draftOfField(shape: Shape, value: unknown): Draft {
  if (value === undefined || value === null) return emptyOf(shape);
  switch (shape.kind) {
    case 'group':
      return draftOf(shape.fields, value as Record<string, unknown>);
    case 'groups':
      return (value as Record<string, unknown>[]).map((row) => draftOf(shape.fields, row));
    case 'texts':
      return (value as unknown[]).map(String);
    case 'json':
      return JSON.stringify(value);
    default:
      return asText(value);
  }
}

/** The options as the service takes them: only what was filled in, and what is wrong with it. */
export function collect(fields: Field[], draft: DraftGroup): { options: Record<string, unknown>; complaints: Complaints } {
  const complaints: Complaints = {};
  const options = collectGroup(fields, draft, '', complaints, false) ?? {};
  return { options, complaints };
}

function collectGroup(
  fields: Field[],
  draft: DraftGroup,
  path: string,
  complaints: Complaints,
  optional: boolean,
): Record<string, unknown> | undefined {
  const result: Record<string, unknown> = {};
  const missing: Complaints = {};
  for (const field of fields) {
    const at = path === '' ? field.name : `${path}.${field.name}`;
    const value = collectField(field, draft[field.name] ?? '', at, complaints);
    if (value !== undefined) result[field.name] = value;
    else if (field.required && complaints[at] === undefined) missing[at] = `${field.label} is needed.`;
  }
  // A group that nobody touched is left out whole, needed fields and all.
  if (optional && Object.keys(result).length === 0) return undefined;
  Object.assign(complaints, missing);
  return result;
}

function collectField(field: Field, draft: Draft, at: string, complaints: Complaints): unknown {
  const { shape } = field;
  switch (shape.kind) {
    case 'group':
      return collectGroup(shape.fields, draft as DraftGroup, at, complaints, !field.required);
    case 'groups': {
      const rows = draft as DraftGroup[];
      if (rows.length === 0) return undefined;
      return rows.map((row, index) => collectGroup(shape.fields, row, `${at}.${index}`, complaints, false));
    }
    case 'texts': {
      const texts = (draft as string[]).filter((text) => text !== '');
      return texts.length === 0 ? undefined : texts;
    }
    default: {
      const text = (draft as string).trim();
      if (text === '') return undefined;
      const { value, complaint } = collectText(shape, text);
      if (complaint) complaints[at] = complaint;
      return value;
    }
  }
}

function collectText(shape: Shape, text: string): { value?: unknown; complaint?: string } {
  switch (shape.kind) {
    case 'number': {
      const value = Number(text);
      if (!Number.isFinite(value)) return { complaint: 'This must be a number.' };
      if (shape.whole && !Number.isInteger(value)) return { complaint: 'This must be a whole number.' };
      if (shape.least !== null && value < shape.least) return { complaint: `This must be at least ${shape.least}.` };
      if (shape.most !== null && value > shape.most) return { complaint: `This must be at most ${shape.most}.` };
      return { value };
    }
    case 'flag':
      return { value: text === 'true' };
    case 'text': {
      if (shape.pattern !== null && !matches(shape.pattern, text)) {
        return { complaint: `This must match ${shape.pattern}.` };
      }
      return { value: text };
    }
    case 'json':
      try {
        return { value: JSON.parse(text) };
      } catch {
        return { complaint: 'This must be JSON.' };
      }
    default:
      return { value: text };
  }
}

function matches(pattern: string, text: string): boolean {
  try {
    return new RegExp(pattern, 'u').test(text);
  } catch {
    return true; // not a pattern of this language: the backend will say
  }
}

const asText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** `memory_limit_mb` → `Memory limit (MB)`. */
function humanise(name: string): string {
  const unit = /_(mb|gb|ms|secs|s)$/.exec(name);
  const stem = (unit ? name.slice(0, unit.index) : name).replaceAll('_', ' ').replace(/\b(cpu|pids|tty|rootfs)\b/g, (word) =>
    word === 'cpu' || word === 'tty' ? word.toUpperCase() : word,
  );
  const label = stem.charAt(0).toUpperCase() + stem.slice(1);
  if (!unit?.[1]) return label;
  return `${label} (${unit[1] === 'mb' || unit[1] === 'gb' ? unit[1].toUpperCase() : unit[1]})`;
}
