import type { Agent } from '../service/wire.ts';
import { type Doing, DOINGS, doing } from './doing.ts';
import { labelText } from './labels.ts';

/** Which agents are listed, and from where on. */
export interface List {
  /** In the name, the directory or the command. */
  text: string;
  /** Labels that an agent must have, as they are shown. */
  labels: string[];
  doing: Doing | '';
  /** Of all where it is empty. */
  backend: string;
  page: number;
}

export const EVERYTHING: List = { text: '', labels: [], doing: '', backend: '', page: 0 };

/** The list as it is in an address; nothing of it where everything is listed. */
export function listQuery({ text, labels, doing: only, backend, page }: List): string {
  const query = new URLSearchParams();
  if (text !== '') query.set('find', text);
  for (const label of labels) query.append('label', label);
  if (only !== '') query.set('doing', only);
  if (backend !== '') query.set('backend', backend);
  if (page > 0) query.set('page', String(page + 1));
  return query.size > 0 ? `?${query}` : '';
}

export function parseList(text: string): List {
  const query = new URLSearchParams(text);
  const only = query.get('doing') ?? '';
  const page = Number(query.get('page') ?? 1);
  return {
    text: query.get('find') ?? '',
    labels: query.getAll('label'),
    doing: only in DOINGS ? (only as Doing) : '',
    backend: query.get('backend') ?? '',
    page: Number.isInteger(page) && page > 1 ? page - 1 : 0,
  };
}

const labelsOf = ({ labels }: Agent): string[] => Object.entries(labels ?? {}).map(([key, value]) => labelText(key, value));

/** Those of the backend that have the labels and, each word of it somewhere, the text; whatever they do. */
export function found(agents: readonly Agent[], { text, labels, backend }: List): Agent[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return agents.filter((agent) => {
    const own = labelsOf(agent);
    if (!labels.every((label) => own.includes(label))) return false;
    const { session } = agent;
    if (backend !== '' && session?.backend_type !== backend) return false;
    const all = [agent.name, session?.working_dir, session?.command.join(' '), ...own].join('\n').toLowerCase();
    return words.every((word) => all.includes(word));
  });
}

/** The backends of agents, by name. */
export const backendsOf = (agents: readonly Agent[]): string[] =>
  [...new Set(agents.flatMap(({ session }) => session?.backend_type ?? []))].sort();

/** How many there are of each. */
export function count(agents: readonly Agent[]): Map<Doing, number> {
  const counts = new Map<Doing, number>();
  for (const agent of agents) {
    const what = doing(agent);
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  return counts;
}
