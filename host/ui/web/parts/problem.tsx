import type { Problem } from '../service/problem.ts';

/** What went wrong and, where the service says so, what to do. */
export function ProblemNote({ problem }: { problem: Problem }) {
  return (
    <div class="note bad" role="alert">
      <p>{problem.message}</p>
      {problem.hint && <p class="hint">{problem.hint}</p>}
    </div>
  );
}
