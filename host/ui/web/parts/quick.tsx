import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { type Press, press, presses } from '../service/press.ts';
import { Problem } from '../service/problem.ts';
import type { Agent } from '../service/wire.ts';
import { say } from './toast.tsx';

/** So long after a key for one agent a click may be a second one of a double click, which the list has moved below. */
const MOVED = 600;
let last = { id: '', at: -MOVED };

/** Keys for an agent that waits, without opening its terminal. */
export function QuickKeys({ agent }: { agent: Agent }) {
  const own = useRef<HTMLDivElement>(null);
  const [busy, setBusy] = useState(false);
  const send = async (key: Press, isClick: boolean) => {
    // Keys go one after the other.
    if (busy) return;
    const now = performance.now();
    if (isClick && last.id !== agent.id && now - last.at < MOVED) {
      say(`Nothing was sent to ${agent.name}: the list may have moved.`, { bad: true });
      return;
    }
    last = { id: agent.id, at: now };
    setBusy(true);
    try {
      await press(agent, key);
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
      {presses().map((key) => (
        <button
          key={key.name}
          type="button"
          class="key"
          aria-label={`${key.name} for ${agent.name}`}
          title={key.name}
          aria-disabled={busy}
          // A key of the keyboard counts no clicks.
          onClick={({ detail }) => void send(key, detail > 0)}
        >
          {key.label}
        </button>
      ))}
    </div>
  );
}
