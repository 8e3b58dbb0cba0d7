import { useEffect, useState } from 'preact/hooks';
import { api } from '../service/api.ts';
import { Problem } from '../service/problem.ts';
import type { Agent, Diff } from '../service/wire.ts';
import { type FileDiff, filesOf } from '../text/diff.ts';
import { Button } from './button.tsx';
import { ProblemNote } from './problem.tsx';

/** So many files are shown open: the page stays quick with more. */
const OPEN = 20;

/** What has changed in an agent's directory since the last commit there. */
export function Changes({ agent }: { agent: Agent }) {
  const [diff, setDiff] = useState<Diff | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [round, setRound] = useState(0);
  const [busy, setBusy] = useState(true);

  useEffect(() => {
    const stop = new AbortController();
    setBusy(true);
    api
      .diff(agent.id, stop.signal)
      .then(
        (found) => {
          setDiff(found);
          setProblem(null);
        },
        (error: unknown) => {
          if (stop.signal.aborted) return;
          setDiff(null);
          setProblem(Problem.of(error));
        },
      )
      .finally(() => !stop.signal.aborted && setBusy(false));
    return () => stop.abort();
  }, [agent.id, round]);

  const files = filesOf(diff?.text ?? '');
  const sum = (of: (file: FileDiff) => number) => files.reduce((all, file) => all + of(file), 0);
  return (
    <div class="changes" aria-busy={busy}>
      <div class="tools bar">
        {diff && (
          <>
            <span role="status">{files.length === 1 ? '1 file' : `${files.length} files`}</span>
            <Counts added={sum(({ added }) => added)} removed={sum(({ removed }) => removed)} />
            <span class="faint since-commit">
              since {diff.base ? <code>{diff.base.slice(0, 10)}</code> : 'the beginning'}
              {diff.branch && (
                <>
                  {' '}
                  on <code>{diff.branch}</code>
                </>
              )}
            </span>
          </>
        )}
        <span class="gap" />
        <Button disabled={busy} onClick={() => setRound(round + 1)}>
          Look again
        </Button>
      </div>
      <div class="files" tabIndex={0} role="region" aria-label={`Changes of ${agent.name}`}>
        {problem?.code === 'no-repository' && <p class="faint">{agent.session?.working_dir ?? 'Its directory'} is not in a git repository.</p>}
        {problem && problem.code !== 'no-repository' && <ProblemNote problem={problem} />}
        {!diff && !problem && <p class="faint">Loading…</p>}
        {diff && files.length === 0 && <p class="faint">Nothing has changed since the last commit.</p>}
        {files.map((file, at) => (
          <File key={file.name} file={file} open={at < OPEN} />
        ))}
        {diff?.truncated && <p class="faint">There is more: only the first MiB is shown.</p>}
      </div>
    </div>
  );
}

function File({ file, open }: { file: FileDiff; open: boolean }) {
  const [isOpen, setOpen] = useState(open);
  return (
    <details class="file" open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <code>{file.name}</code>
        <Counts added={file.added} removed={file.removed} />
      </summary>
      {isOpen && (
        <pre>
          {file.lines.map(({ kind, text }, at) => (
            <span key={at} class={kind}>
              {text}
              {'\n'}
            </span>
          ))}
        </pre>
      )}
    </details>
  );
}

function Counts({ added, removed }: { added: number; removed: number }) {
  return (
    <span class="counts">
      {added > 0 && <span class="added">+{added}</span>}
      {removed > 0 && <span class="removed">−{removed}</span>}
    </span>
  );
}
