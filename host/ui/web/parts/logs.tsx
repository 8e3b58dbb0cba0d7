import { batch, useComputed, useSignal } from '@preact/signals';
import { Component } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { can } from '../live.ts';
import { lookedFor } from '../opened.ts';
import { api } from '../service/api.ts';
import { backoff } from '../service/backoff.ts';
import { Problem } from '../service/problem.ts';
import type { Agent, FoundLine, LogLine } from '../service/wire.ts';
import { plain } from '../text/ansi.ts';
import { marked } from '../text/marked.tsx';
import { clock } from '../text/time.ts';
import { Button, Tool } from './button.tsx';
import { copyText } from './clipboard.ts';
import { download } from './download.ts';
import { ProblemNote } from './problem.tsx';
import { earlierRun, RunChoice } from './runs.tsx';

/** How far back we read, and how many lines are kept; both enough to read and search by eye. */
const TAIL = 2000;
const KEPT = 10_000;

interface Row extends LogLine {
  number: number;
}

/** An agent's output as lines: live, searchable, to copy or to keep. */
export function Logs({ agent }: { agent: Agent }) {
  const rows = useSignal<Row[]>([]);
  const problem = useSignal<Problem | null>(null);
  const reading = useSignal(true);
  const follow = useSignal(true);
  const search = useSignal('');
  // The id of an earlier run; the newest one without.
  const run = useSignal('');
  // A line to be shown among those around it, and which one that is.
  const wanted = useSignal<FoundLine | null>(null);
  const found = useSignal<number | null>(null);
  const box = useRef<HTMLDivElement>(null);
  const { id } = agent;

  const asked = lookedFor.value;
  useEffect(() => {
    if (asked?.agent !== id) return;
    batch(() => {
      lookedFor.value = null;
      wanted.value = asked;
      run.value = asked.session;
      follow.value = false;
      search.value = '';
    });
  }, [asked, id]);

  // Anew for every session, and whenever following is switched on again.
  const session = agent.session?.created_at;
  const following = follow.value;
  const chosen = earlierRun(agent, run.value);
  const around = wanted.value;
  useEffect(() => {
    const stop = new AbortController();
    problem.value = null;
    found.value = null;
    void read(stop.signal);
    return () => stop.abort();

    async function read(signal: AbortSignal) {
      for (let attempt = 0; !signal.aborted; attempt += 1) {
        let number = 0;
        let fresh: Row[] = [];
        reading.value = true;
        try {
          let first = true;
          let scheduled = 0;
          const show = () => {
            scheduled = 0;
            if (signal.aborted) return;
            rows.value = (first ? fresh : rows.value.concat(fresh)).slice(-KEPT);
            first = false;
            fresh = [];
          };
          const whole = around?.number !== undefined;
          const last = around?.number === undefined ? Infinity : around.number + KEPT / 2;
          for await (const batch of api.logs(id, { tail: whole ? undefined : TAIL, follow: following, session: chosen || undefined }, signal)) {
            for (const line of batch) fresh.push({ ...line, line: plain(line.line), number: number++ });
            // Many batches a frame become one change of the page.
            scheduled ||= window.setTimeout(show, 50);
            if (number > last) break;
          }
          clearTimeout(scheduled);
          show();
          problem.value = null;
          reading.value = false;
          if (around) found.value = placeOf(around, rows.value);
          return; // the session has ended, or nothing is followed
        } catch (error) {
          if (signal.aborted) return;
          problem.value = Problem.of(error);
          if (problem.value.status >= 400 && problem.value.status < 500) {
            // What another run has written would be taken for this one's.
            rows.value = [];
            break;
          }
          await new Promise((resolve) => setTimeout(resolve, backoff(attempt + 1)));
        }
      }
      reading.value = false;
    }
  }, [id, session, following, chosen, around]);

  const shown = useComputed(() => {
    const text = search.value.toLowerCase();
    return text === '' ? rows.value : rows.value.filter((row) => row.line.toLowerCase().includes(text));
  });

  // New lines push the view down only while it is at the end.
  const atEnd = useRef(true);
  useEffect(() => {
    const element = box.current;
    if (element && atEnd.current) element.scrollTop = element.scrollHeight;
  }, [shown.value]);
  useEffect(() => {
    if (found.value === null) return;
    atEnd.current = false;
    box.current?.querySelector('.found')?.scrollIntoView({ block: 'center' });
    box.current?.focus({ preventScroll: true });
  }, [found.value]);

  const structured = can(agent, 'logs') || rows.value.some((row) => row.ts !== null);
  const text = () => shown.value.map((row) => [row.ts, row.stream, row.line].filter((part) => part !== null).join(' ')).join('\n');
  return (
    <div class="logs">
      <div class="tools bar">
        <label class="search">
          <span class="sr">Search the lines</span>
          <input type="search" placeholder="Search" value={search.value} onInput={(event) => (search.value = event.currentTarget.value)} />
        </label>
        <span class="faint count" role="status">
          {around && !reading.value && found.value === null && 'That line is not in the log. '}
          {search.value === '' ? `${rows.value.length} lines` : `${shown.value.length} of ${rows.value.length} lines`}
        </span>
        <span class="gap" />
        <RunChoice agent={agent} chosen={chosen} onChoose={(to) => batch(() => ((run.value = to), (wanted.value = null)))} />
        <label class="check">
          <input type="checkbox" checked={follow.value} onChange={(event) => {
              const { checked } = event.currentTarget;
              batch(() => ((follow.value = checked), (wanted.value = null)));
            }}
          />
          Follow
        </label>
        <Tool icon="copy" label="Copy these lines" onClick={() => void copyText(text(), `${shown.value.length} lines`)} />
        <Tool icon="download" label="Download these lines" onClick={() => download(`${agent.name}.log`, `${text()}\n`)} />
      </div>
      {problem.value && <ProblemNote problem={problem.value} />}
      <div
        ref={box}
        class="lines"
        tabIndex={0}
        role="log"
        aria-label={`Output of ${agent.name}`}
        aria-live="off"
        onScroll={(event) => {
          const element = event.currentTarget;
          atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 24;
        }}
      >
        {blocks(shown.value).map((block) => (
          <Block key={block.key} rows={block.rows} structured={structured} search={search.value} found={found.value} />
        ))}
        {rows.value.length === 0 && !problem.value && (
          <p class="faint empty">{reading.value ? 'No output yet.' : 'No output.'}</p>
        )}
      </div>
      {!atEnd.current && shown.value.length > 0 && follow.value && (
        <div class="bar">
          <Button
            onClick={() => {
              atEnd.current = true;
              if (box.current) box.current.scrollTop = box.current.scrollHeight;
            }}
          >
            To the end
          </Button>
        </div>
      )}
    </div>
  );
}

/** The number of the row of a line that was found: it may have moved up since. */
function placeOf({ number, line }: FoundLine, rows: Row[]): number | null {
  const text = plain(line).trimEnd();
  const row = rows.findLast((one) => one.number <= (number ?? -1) && one.line.startsWith(text));
  return row?.number ?? null;
}

const BLOCK = 200;

function blocks(rows: Row[]): { key: number; rows: Row[] }[] {
  const result: { key: number; rows: Row[] }[] = [];
  for (const row of rows) {
    const key = Math.floor(row.number / BLOCK);
    const last = result.at(-1);
    if (last?.key === key) last.rows.push(row);
    else result.push({ key, rows: [row] });
  }
  return result;
}

interface BlockProps {
  rows: Row[];
  structured: boolean;
  search: string;
  /** The number of the line that was looked for. */
  found: number | null;
}

/** Some rows together, so that new lines at the end do not cost a look at all the others. */
class Block extends Component<BlockProps> {
  override shouldComponentUpdate(next: BlockProps): boolean {
    const { rows, structured, search, found } = this.props;
    return (
      next.found !== found ||
      next.search !== search ||
      next.structured !== structured ||
      next.rows.length !== rows.length ||
      next.rows[0] !== rows[0] ||
      next.rows.at(-1) !== rows.at(-1)
    );
  }

  override render({ rows, structured, search, found }: BlockProps) {
    return (
      <div class="block">
        {rows.map((row) => (
          <div key={row.number} class={['line', row.stream === 'stderr' ? 'err' : '', row.number === found ? 'found' : ''].join(' ').trim()}>
            {structured && (
              <>
                <time dateTime={row.ts ?? ''} title={row.ts ?? ''}>
                  {row.ts ? clock(row.ts) : ''}
                </time>
                <span class="stream">{row.stream ?? ''}</span>
              </>
            )}
            <span class="text">{marked(row.line, search)}</span>
          </div>
        ))}
      </div>
    );
  }
}
