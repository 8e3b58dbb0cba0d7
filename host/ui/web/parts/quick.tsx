import { useLayoutEffect, useRef } from 'preact/hooks';
import { press, presses } from '../service/press.ts';
import { Problem } from '../service/problem.ts';
import type { Agent } from '../service/wire.ts';
import { say } from './toast.tsx';

/** Keys for an agent that waits, without opening its terminal. */
export function QuickKeys({ agent }: { agent: Agent }) {
  const own = useRef<HTMLDivElement>(null);
  // They go when they were answered with; the focus stays in the row then.
  useLayoutEffect(() => {
    const element = own.current;
    return () => {
      if (element?.contains(document.activeElement)) element.closest('li')?.querySelector('a')?.focus();
    };
  }, []);
  return (
    <div ref={own} class="quick" role="group" aria-label={`Keys for ${agent.name}`}>
      {presses().map((key) => (
        <button
          key={key.name}
          type="button"
          class="key"
          aria-label={`${key.name} for ${agent.name}`}
          title={key.name}
          onClick={() => void press(agent, key).catch((error: unknown) => say(`${agent.name}: ${Problem.of(error).message}`, { bad: true }))}
        >
          {key.label}
        </button>
      ))}
    </div>
  );
}
