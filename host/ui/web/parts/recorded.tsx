import { useEffect, useRef, useState } from 'preact/hooks';
import { api } from '../service/api.ts';
import { Problem } from '../service/problem.ts';
import type { Agent } from '../service/wire.ts';
import { recordingText } from '../text/recording.ts';
import { Button } from './button.tsx';
import { download } from './download.ts';
import { ProblemNote } from './problem.tsx';
import { earlierRun, RunChoice } from './runs.tsx';

/** What an agent's terminal has shown, played. */
export function Recorded({ agent }: { agent: Agent }) {
  const [cast, setCast] = useState<string | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [round, setRound] = useState(0);
  const [run, setRun] = useState('');
  const box = useRef<HTMLDivElement>(null);
  const chosen = earlierRun(agent, run);
  const recording = agent.session?.recording;

  useEffect(() => {
    const stop = new AbortController();
    let dispose = () => {};
    setProblem(null);
    setCast(null);
    const loaded = Promise.all([api.recording(agent.id, chosen || undefined, stop.signal), import('../recording/player.ts')]);
    loaded.then(
      ([text, { play }]) => {
        if (stop.signal.aborted || !box.current) return;
        setCast(text);
        const player = play(text, box.current);
        dispose = () => player.dispose();
      },
      (error: unknown) => !stop.signal.aborted && setProblem(Problem.of(error)),
    );
    return () => {
      stop.abort();
      dispose();
    };
  }, [agent.id, agent.session?.created_at, chosen, round]);

  return (
    <div class="recorded" aria-busy={cast === null && problem === null}>
      <div class="tools bar">
        <RunChoice agent={agent} chosen={chosen} onChoose={setRun} />
        {chosen === '' && recording && <span role="status">{recordingText(recording)}</span>}
        <span class="gap" />
        <Button disabled={cast === null} onClick={() => cast !== null && download(`${agent.name}.cast`, cast)}>
          Download
        </Button>
        <Button onClick={() => setRound(round + 1)}>Play again</Button>
      </div>
      <div class="player" role="region" aria-label={`Recording of ${agent.name}`}>
        {problem && (problem.status === 404 ? <p class="faint">This run was not recorded.</p> : <ProblemNote problem={problem} />)}
        {!problem && cast === null && <p class="faint">Loading…</p>}
        <div class="stage-of-player" ref={box} />
      </div>
    </div>
  );
}
