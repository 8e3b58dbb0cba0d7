import { useEffect, useRef, useState } from 'preact/hooks';
import { lookedFor, searchOpen, searchText } from '../opened.ts';
import { agentLink, go } from '../router.ts';
import { api } from '../service/api.ts';
import { Problem } from '../service/problem.ts';
import type { FoundLine } from '../service/wire.ts';
import { plain } from '../text/ansi.ts';
import { marked } from '../text/marked.tsx';
import { Button } from './button.tsx';
import { Dialog } from './dialog.tsx';
import { ProblemNote } from './problem.tsx';

/** Who types a word is not asked about each of its letters. */
const PAUSE_MS = 250;
/** So many more are looked for at a time: a page of the service may have few. */
const MORE = 50;

interface Found {
  items: FoundLine[];
  /** Where it goes on; nothing at the end. */
  next: string | undefined;
  incomplete: boolean;
}

const NOTHING: Found = { items: [], next: undefined, incomplete: false };

/** Lines that any agent has written, while they are looked for. */
export function Search() {
  return searchOpen.value ? <SearchDialog onClose={() => (searchOpen.value = false)} /> : null;
}

function SearchDialog({ onClose }: { onClose(): void }) {
  const [found, setFound] = useState<Found | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const stop = useRef(new AbortController());
  const list = useRef<HTMLOListElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const text = searchText.value;

  const look = async (had: Found) => {
    const { signal } = stop.current;
    setBusy(true);
    setProblem(null);
    try {
      const enough = had.items.length + MORE;
      do {
        const page = await api.search(text, had.next, signal);
        had = { items: [...had.items, ...page.items], next: page.next_cursor, incomplete: had.incomplete || (page.incomplete ?? false) };
        setFound(had);
      } while (had.next !== undefined && had.items.length < enough);
    } catch (error) {
      if (signal.aborted) return;
      setProblem(Problem.of(error));
    }
    setBusy(false);
  };
  useEffect(() => {
    setFound(null);
    setProblem(null);
    setBusy(false);
    if (text.trim() === '') return;
    stop.current = new AbortController();
    const timer = setTimeout(() => void look(NOTHING), PAUSE_MS);
    return () => {
      clearTimeout(timer);
      stop.current.abort();
    };
  }, [text]);

  const show = (line: FoundLine) => {
    onClose();
    lookedFor.value = line;
    go(agentLink(line.agent, 'logs'));
  };
  const key = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const hits = [...(list.current?.querySelectorAll<HTMLElement>('.hit') ?? [])];
    if (step === undefined || hits.length === 0) return;
    event.preventDefault();
    const at = hits.indexOf(document.activeElement as HTMLElement) + step;
    (at < 0 ? field.current : hits[Math.min(at, hits.length - 1)])?.focus();
  };

  const count = found?.items.length ?? 0;
  const lines = `${count}${found?.next === undefined ? '' : ' or more'} ${count === 1 ? 'line' : 'lines'}`;
  const state = text.trim() === '' ? 'In the output of all agents, also of earlier runs.' : busy || found === null ? 'Looking…' : lines;
  return (
    <Dialog title="Search what agents wrote" onClose={onClose} palette>
      <div class="searching" onKeyDown={key}>
        <input
          ref={field}
          type="text"
          role="searchbox"
          autofocus
          autocomplete="off"
          spellcheck={false}
          aria-label="What they wrote"
          placeholder="Search what agents wrote"
          value={text}
          onInput={(event) => (searchText.value = event.currentTarget.value)}
        />
        {!problem && (
          <p class="faint" role="status">
            {state}
            {!busy && found?.incomplete && ' Some output could not be read now.'}
          </p>
        )}
        {problem && <ProblemNote problem={problem} />}
        {found && count > 0 && (
          <ol ref={list} class="hits" aria-label="Found">
            {found.items.map((line, index) => (
              <li key={index}>
                <button type="button" class="hit" onClick={() => show(line)}>
                  <span class="hit-head">
                    <strong>{line.name}</strong>
                    <span class="faint">{line.number === undefined ? 'on its screen' : `line ${line.number + 1}`}</span>
                  </span>
                  {besides(line.before)}
                  <span>{marked(plain(line.line), text)}</span>
                  {besides(line.after)}
                </button>
              </li>
            ))}
          </ol>
        )}
        {problem && !busy && <Button onClick={() => void look(found ?? NOTHING)}>Try again</Button>}
        {found?.next !== undefined && !busy && !problem && <Button onClick={() => void look(found)}>More</Button>}
      </div>
    </Dialog>
  );
}

/** What is before or after a line that was found. */
function besides(lines: string[]) {
  return lines.map((line, at) => (
    <span key={at} class="faint beside">
      {plain(line)}
    </span>
  ));
}
