import type { Feed, Turns } from './feed.ts';

const LEAST = 64 * 1024;
const MOST = 1024 * 1024;
/** A frame that took longer than this was too much for the machine. */
const SLOW_MS = 40;
const FAST_MS = 20;

/** With more terminals than this in the page, those without the keyboard are shown less often. */
const CROWD = 2;
const PAUSE_MS = 100;
const SHARE = 32 * 1024;

/**
 * Shares each frame's time between all terminals of the page, so that one that
 * floods takes nothing from the others or from the page: so many bytes per
 * frame, fewer when frames get slow, more when they are fast again. The
 * terminal in use comes first; in a crowd the others take turns of a fixed
 * size, some ten times a second. Who cannot keep up gets a fresh screen from
 * the service now and then, which is all that an eye could follow.
 */
export class FrameTurns implements Turns {
  private readonly served = new Map<Feed, number>();
  private readonly asking = new Set<Feed>();
  private favourite: Feed | null = null;
  private budget = 256 * 1024;
  private scheduled = false;
  private lastFrame = 0;

  join(feed: Feed): void {
    this.served.set(feed, 0);
  }

  leave(feed: Feed): void {
    this.served.delete(feed);
    this.asking.delete(feed);
    if (this.favourite === feed) this.favourite = null;
  }

  ask(feed: Feed): void {
    this.asking.add(feed);
    this.schedule();
  }

  mayWriteNow(feed: Feed): boolean {
    const now = performance.now();
    if (this.rests(feed, now)) return false;
    this.served.set(feed, now);
    return true;
  }

  /** The terminal that has the keyboard. */
  prefer(feed: Feed): void {
    this.favourite = feed;
  }

  /** Whether a feed had its turn too short a while ago. */
  private rests(feed: Feed, now: number): boolean {
    return this.served.size > CROWD && feed !== this.favourite && now - (this.served.get(feed) ?? 0) < PAUSE_MS;
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
    const favourite = this.favourite;
    if (favourite && this.asking.has(favourite)) left -= this.serve(favourite, left, now);
    // Whoever was served longest ago comes first.
    const others = [...this.asking].filter((feed) => feed !== favourite && !this.rests(feed, now));
    others.sort((a, b) => (this.served.get(a) ?? 0) - (this.served.get(b) ?? 0));
    for (const feed of others) {
      if (left <= 0) break;
      left -= this.serve(feed, this.served.size > CROWD ? Math.min(left, SHARE) : left, now);
    }
    // A feed that waits for the parser asks again by itself.
    if (this.asking.size > 0) this.schedule();
  }

  /** Let a feed write about so many bytes; returns how many it was. */
  private serve(feed: Feed, share: number, now: number): number {
    this.served.set(feed, now);
    let written = 0;
    while (written < share) {
      const step = feed.step();
      if (step === 0) {
        this.asking.delete(feed);
        break;
      }
      written += step;
    }
    return written;
  }
}

export const turns = new FrameTurns();
