import type { Feed, Turns } from './feed.ts';

const LEAST = 64 * 1024;
const MOST = 1024 * 1024;
/** A frame that took longer than this was too much for the machine. */
const SLOW_MS = 40;
const FAST_MS = 20;

/**
 * Shares each frame's time between all terminals of the page, so that one that
 * floods takes nothing from the others or from the page: so many bytes per
 * frame, fewer when frames get slow, more when they are fast again. The
 * terminal in use comes first.
 */
export class FrameTurns implements Turns {
  private readonly asking = new Set<Feed>();
  private favourite: Feed | null = null;
  private budget = 256 * 1024;
  private scheduled = false;
  private lastFrame = 0;

  ask(feed: Feed): void {
    this.asking.add(feed);
    this.schedule();
  }

  leave(feed: Feed): void {
    this.asking.delete(feed);
    if (this.favourite === feed) this.favourite = null;
  }

  /** The terminal that has the keyboard. */
  prefer(feed: Feed | null): void {
    this.favourite = feed;
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    // A hidden page gets no frames, but its terminals go on.
    if (document.hidden) {
      setTimeout(() => this.turn(performance.now()), 50);
      return;
    }
    let done = false;
    const once = (now: number) => {
      if (done) return;
      done = true;
      this.turn(now);
    };
    requestAnimationFrame(once);
    // The page may be hidden before its next frame.
    setTimeout(() => once(performance.now()), 200);
  }

  private turn(now: number): void {
    this.scheduled = false;
    const took = now - this.lastFrame;
    this.lastFrame = now;
    if (took > SLOW_MS && took < 1000) this.budget = Math.max(LEAST, this.budget / 2);
    else if (took < FAST_MS) this.budget = Math.min(MOST, this.budget * 1.25);

    let left = this.budget;
    const round = [...this.asking];
    if (this.favourite && this.asking.has(this.favourite)) round.unshift(this.favourite);
    let progress = true;
    while (left > 0 && progress) {
      progress = false;
      for (const feed of round) {
        const written = feed.step();
        if (!feed.waiting) this.asking.delete(feed);
        if (written > 0) progress = true;
        left -= written;
        if (left <= 0) break;
      }
    }
    // Those that were not served this time come first next time.
    const [first] = this.asking;
    if (first && this.asking.size > 1) {
      this.asking.delete(first);
      this.asking.add(first);
    }
    // A feed that waits for the parser asks again by itself.
    if (left <= 0 && this.asking.size > 0) this.schedule();
  }
}

export const turns = new FrameTurns();
