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
  /** What can be done instead when the service has failed at it. */
  anyway?: { text: string; yes: string; act(): Promise<unknown> };
}

/** Asks before something that cannot be taken back, and does it. */
export function Confirm({ question, onClose }: { question: Question; onClose(): void }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const instead = (problem?.status ?? 0) >= 500 ? question.anyway : undefined;
  const { yes, act: wanted } = instead ?? question;
  const act = async () => {
    setBusy(true);
    try {
      await wanted();
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
      {instead && <p>{instead.text}</p>}
      <div class="dialog-foot">
        <Button onClick={onClose}>Cancel</Button>
        <Button kind="danger" disabled={busy} onClick={() => void act()}>
          {yes}
        </Button>
      </div>
    </Dialog>
  );
}
