import type { Agent } from '../service/wire.ts';

const PROGRAMS: Record<string, string> = {
  claude: 'Claude Code',
  codex: 'Codex',
  opencode: 'OpenCode',
  gemini: 'Gemini',
  crush: 'Crush',
};

/** What an agent runs, in a word or two. */
export function kindOf({ session }: Agent): string {
  const program = session?.command[0]?.split('/').pop() ?? '';
  return PROGRAMS[program] ?? program;
}

/** A directory in little room: its last two parts. */
export function shortPath(path: string): string {
  const parts = path.split('/').filter(Boolean);
  return parts.length > 2 ? `…/${parts.slice(-2).join('/')}` : path;
}
