/** Server-sent events, read from a stream rather than by `EventSource`, which cannot send our header. */
import { LineReader } from './lines.ts';

export interface ServerEvent {
  id: string | null;
  event: string;
  data: string;
}

export class SseParser {
  /** The last id seen, to resume after: it outlives single events, as the standard says. */
  lastId: string | null = null;
  /** The pause before reconnecting that the server asked for, in milliseconds. */
  retry: number | null = null;

  private readonly lines = new LineReader();
  private event = '';
  private data: string[] = [];

  push(bytes: Uint8Array): ServerEvent[] {
    const events: ServerEvent[] = [];
    for (const line of this.lines.push(bytes)) {
      if (line === '') {
        const event = this.dispatch();
        if (event) events.push(event);
      } else {
        this.field(line);
      }
    }
    return events;
  }

  private field(line: string): void {
    if (line.startsWith(':')) return;
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const raw = colon < 0 ? '' : line.slice(colon + 1);
    const value = raw.startsWith(' ') ? raw.slice(1) : raw;
    if (name === 'data') this.data.push(value);
    else if (name === 'event') this.event = value;
    else if (name === 'id' && !value.includes('\0')) this.lastId = value;
    else if (name === 'retry' && /^\d+$/.test(value)) this.retry = Number(value);
  }

  private dispatch(): ServerEvent | null {
    const { event, data } = this;
    this.event = '';
    this.data = [];
    if (data.length === 0) return null;
    return { id: this.lastId, event: event || 'message', data: data.join('\n') };
  }
}
