import { useState } from 'preact/hooks';
import { Problem } from '../service/problem.ts';
import { Button } from './button.tsx';
import { Dialog } from './dialog.tsx';
import { ProblemNote } from './problem.tsx';

export interface Question {
  title: string;
  text: string;
  yes: string;
  act(): Promise<unknown>;
}

/** Asks before something that cannot be taken back, and does it. */
export function Confirm({ question, onClose }: { question: Question; onClose(): void }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const act = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await question.act();
      onClose();
    } catch (error) {
      setProblem(Problem.of(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={question.title} onClose={onClose}>
      <p>{question.text}</p>
      {problem && <ProblemNote problem={problem} />}
      <div class="dialog-foot">
        <Button onClick={onClose}>Cancel</Button>
        <Button kind="danger" disabled={busy} onClick={() => void act()}>
          {question.yes}
        </Button>
      </div>
    </Dialog>
  );
}
