import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { api } from '../service/api.ts';
import { type Press, presses } from '../service/press.ts';
import { Problem } from '../service/problem.ts';
import type { Agent } from '../service/wire.ts';
import { say } from './toast.tsx';

/** Keys for an agent that waits, without opening its terminal. Once it does not, they do nothing. */
export function QuickKeys({ agent, waits }: { agent: Agent; waits: boolean }) {
  const own = useRef<HTMLDivElement>(null);
  const [busy, setBusy] = useState(false);
  const send = async (key: Press) => {
    // Keys go one after the other.
    if (busy || !waits) return;
    setBusy(true);
    try {
      await api.keys(agent.id, [key.key]);
    } catch (error) {
      say(`${agent.name}: ${Problem.of(error).message}`, { bad: true });
    }
    setBusy(false);
  };
  // They go when they were answered with; the focus stays in the row then.
  useLayoutEffect(() => {
    const element = own.current;
    return () => {
      if (element?.contains(document.activeElement)) element.closest('li')?.querySelector('a')?.focus();
    };
  }, []);
  return (
    <div ref={own} class="quick" role="group" aria-label={`Keys for ${agent.name}`}>
      {presses(agent).map((key) => (
        <button
          key={key.name}
          type="button"
          class="key"
          aria-label={`${key.name} for ${agent.name}`}
          title={key.name}
          aria-disabled={busy || !waits}
          onClick={() => void send(key)}
        >
          {key.label}
        </button>
      ))}
    </div>
  );
}
