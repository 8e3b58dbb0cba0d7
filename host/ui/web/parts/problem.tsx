import type { Problem } from '../service/problem.ts';
import { Prose } from './prose.tsx';

/** What went wrong and, where the service says so, what to do. */
export function ProblemNote({ problem }: { problem: Problem }) {
  return (
    <div class="note bad" role="alert">
      <p>
        <Prose text={problem.message} />
      </p>
      {problem.hint && (
        <p class="hint">
          <Prose text={problem.hint} />
        </p>
      )}
    </div>
  );
}
