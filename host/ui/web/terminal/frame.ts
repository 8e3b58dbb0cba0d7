import type { ClientFrame, Mode, ServerFrame } from '../service/wire.ts';

/** A text frame of the service, or null: frames that this page does not know are left alone. */
export function parseFrame(text: string): ServerFrame | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const frame = value as ServerFrame | null;
  switch (frame?.type) {
    case 'hello':
      return isSize(frame) && Number.isFinite(frame.seq) ? frame : null;
    case 'snapshot':
      return Number.isFinite(frame.seq) && Number.isFinite(frame.bytes) ? frame : null;
    case 'lost':
      return Number.isFinite(frame.from) && Number.isFinite(frame.to) ? frame : null;
    case 'resize':
      return isSize(frame) ? frame : null;
    case 'exit':
    case 'error':
      return frame;
    default:
      return null;
  }
}

export const writeFrame = (frame: ClientFrame): string => JSON.stringify(frame);

const isSize = (size: { cols: number; rows: number }): boolean => size.cols > 0 && size.rows > 0;

/** Where a viewer stands in a session's output. */
export interface Position {
  epoch: string;
  seq: number;
}

/** `run` is the id of an earlier run; the newest one is shown where it is empty. */
export function terminalPath(agent: string, run: string, ticket: string, mode: Mode, from: Position | null): string {
  const query = new URLSearchParams({ ticket, ack: '1' });
  if (run !== '') query.set('session', run);
  if (mode === 'ro') query.set('mode', 'ro');
  if (from) {
    query.set('seq', String(from.seq));
    query.set('epoch', from.epoch);
  }
  return `/agents/${encodeURIComponent(agent)}/terminal?${query}`;
}
