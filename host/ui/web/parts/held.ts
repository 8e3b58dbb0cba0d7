import { useEffect, useRef, useState } from 'preact/hooks';

/** So long a mouse may rest before it counts as away: the person may be, too. */
const REST_MS = 60_000;
/** A finger is lifted between two taps. */
const LIFTED_MS = 1000;

interface Held {
  ids: string[];
  /** Whether the list stays as it is. */
  held: boolean;
  wiring: { onPointerMove(): void; onPointerDown(): void; onPointerLeave(event: { pointerType: string }): void };
}

/**
 * Keeps the order of a list while a pointer is over it, so that nobody clicks what has just come there.
 * What is new comes at the end meanwhile. `list` says which list it is: another one has its own order.
 */
export function useHeld(list: string, wanted: string[]): Held {
  const [held, setHeld] = useState(false);
  const timer = useRef(0);
  const shown = useRef({ list, ids: wanted });
  useEffect(() => () => clearTimeout(timer.current), []);

  const goes = held && shown.current.list === list;
  const before = shown.current.ids;
  const ids = goes ? [...before, ...wanted.filter((id) => !before.includes(id))] : wanted;
  shown.current = { list, ids };

  const letGo = (ms: number) => {
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => setHeld(false), ms);
  };
  const hold = () => {
    setHeld(true);
    letGo(REST_MS);
  };
  return {
    ids,
    held,
    wiring: { onPointerMove: hold, onPointerDown: hold, onPointerLeave: ({ pointerType }) => letGo(pointerType === 'mouse' ? 0 : LIFTED_MS) },
  };
}
