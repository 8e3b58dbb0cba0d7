import type { Page } from 'playwright-core';
import type { Activity, Agent } from '../../web/service/wire.ts';

interface Pretending extends Window {
  pretended: Map<string, Activity>;
  pretend(id: string, name: string, activity: Activity): void;
}

/**
 * Has a page be told of activities by its test, and of no others: what the page makes of them does not
 * depend on how the service finds out. Before the page is opened, or it has to be reloaded.
 */
export async function pretendActivities(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const own = window as unknown as Pretending;
    const streams = new Set<ReadableStreamDefaultController<Uint8Array>>();
    const encode = (text: string) => new TextEncoder().encode(text);
    own.pretended = new Map();
    own.pretend = (id, name, activity) => {
      own.pretended.set(id, activity);
      for (const stream of streams) stream.enqueue(encode(`event: activity\ndata: ${JSON.stringify({ id, name, activity })}\n\n`));
    };
    const told = (agent: Agent): Agent => {
      if (agent.session) {
        const activity = own.pretended.get(agent.id);
        if (activity) agent.session.activity = activity;
        else delete agent.session.activity;
      }
      return agent;
    };
    const events = (body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> => {
      const reader = body.getReader();
      let mine: ReadableStreamDefaultController<Uint8Array>;
      return new ReadableStream({
        async start(stream) {
          mine = stream;
          streams.add(stream);
          let text = '';
          const decoder = new TextDecoder();
          try {
            for (let part = await reader.read(); !part.done; part = await reader.read()) {
              text += decoder.decode(part.value, { stream: true });
              const whole = text.lastIndexOf('\n\n') + 2;
              if (whole < 2) continue;
              const passed = text.slice(0, whole).split('\n\n').filter((event) => !/^event: ?activity$/m.test(event));
              text = text.slice(whole);
              // Agents that other events bring are as pretended, too.
              const changed = passed.map((event) =>
                event.replace(/^data: ?(\{"agent":.*)$/m, (_, data: string) => {
                  const value = JSON.parse(data) as { agent: Agent };
                  return `data: ${JSON.stringify({ ...value, agent: told(value.agent) })}`;
                }),
              );
              stream.enqueue(encode(changed.join('\n\n')));
            }
            stream.close();
          } catch (error) {
            stream.error(error);
          }
          streams.delete(stream);
        },
        cancel() {
          streams.delete(mine);
          return reader.cancel();
        },
      });
    };
    const real = window.fetch.bind(window);
    window.fetch = async (input, init) => {
      const answer = await real(input, init);
      const { pathname } = new URL(String(input), location.href);
      if (!answer.ok || !answer.body) return answer;
      if (pathname === '/events') return new Response(events(answer.body), answer);
      if (!/^\/agents(\/[^/]+)?$/.test(pathname)) return answer;
      const value = (await answer.json()) as Agent | { items: Agent[] };
      if ('items' in value) value.items.forEach(told);
      else told(value);
      return new Response(JSON.stringify(value), answer);
    };
  });
}

/** The agent does that, since so many seconds. */
export function does(page: Page, agent: Agent, state: Activity['state'], more: { reason?: string; title?: string; seconds?: number } = {}): Promise<void> {
  const { seconds = 0, ...rest } = more;
  const activity: Activity = { state, since: new Date(Date.now() - seconds * 1000).toISOString(), ...rest };
  return page.evaluate(({ id, name, activity: made }) => (window as unknown as Pretending).pretend(id, name, made), { id: agent.id, name: agent.name, activity });
}
