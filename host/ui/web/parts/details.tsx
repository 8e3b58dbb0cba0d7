import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { mayAll, now, uptime } from '../live.ts';
import { put } from '../service/agents.ts';
import { api } from '../service/api.ts';
import type { Agent } from '../service/wire.ts';
import { endText, exitText } from '../text/exit.ts';
import { KEEPS } from '../text/keep.ts';
import { recordingText } from '../text/recording.ts';
import { duration, moment } from '../text/time.ts';
import { line } from '../text/words.ts';
import { HealthBadge, StatusBadge } from './badge.tsx';
import { Tool } from './button.tsx';
import { copyText } from './clipboard.ts';
import { LabelEditor, Labels } from './labels.tsx';
import { PolicyEditor } from './policy.tsx';
import { NameEditor } from './rename.tsx';

/** Everything that the service knows about an agent. */
export function Details({ agent }: { agent: Agent }) {
  // The number of viewers and the like change without an event.
  useEffect(() => void api.agent(agent.id).then(put, () => undefined), [agent.id]);
  const session = agent.session;
  const up = uptime(agent);
  const options = Object.entries(session?.options ?? {});
  const env = Object.keys(session?.env ?? {});
  return (
    <div class="details">
      <Section title="State">
        <Fact name="Status">
          <StatusBadge agent={agent} />
        </Fact>
        <Fact name="Health">
          <HealthBadge health={session?.health} />
        </Fact>
        {session?.progress && <Fact name="Doing">{session.progress}</Fact>}
        {session?.activity?.title && <Fact name="Title">{session.activity.title}</Fact>}
        {session?.activity?.reason && <Fact name="Says">{session.activity.reason}</Fact>}
        {up !== null && <Fact name="Up for">{duration(up)}</Fact>}
        {session?.exit && <Fact name="Last exit">{endText(agent, session.exit)}</Fact>}
        <Fact name="Restarts">{agent.restarts}</Fact>
        {agent.next_restart_at && (
          <Fact name="Next start">
            {moment(agent.next_restart_at)} <span class="faint">({dueText(agent.next_restart_at)})</span>
          </Fact>
        )}
        {agent.restart_reason && <Fact name="Because">{agent.restart_reason}</Fact>}
        {agent.prompt === 'pending' && <Fact name="Prompt">It is typed once the program reads keys.</Fact>}
        {agent.prompt === 'failed' && <Fact name="Prompt">It could not be typed.</Fact>}
        <Fact name="Created">
          {moment(agent.created_at)} <span class="faint">({duration(now.value - Date.parse(agent.created_at))} ago)</span>
        </Fact>
        {session && session.created_at !== agent.created_at && <Fact name="Last start">{moment(session.created_at)}</Fact>}
      </Section>
      {mayAll() && (
        <section class="facts">
          <h2>Name</h2>
          <NameEditor key={agent.name} agent={agent} />
        </section>
      )}
      {mayAll() && (
        <section class="facts">
          <h2>Restarts</h2>
          <PolicyEditor agent={agent} />
        </section>
      )}
      {(mayAll() || Object.keys(agent.labels ?? {}).length > 0) && (
        <section class="facts">
          <h2>Labels</h2>
          {mayAll() ? <LabelEditor agent={agent} /> : <Labels agent={agent} />}
        </section>
      )}
      {session && (
        <Section title="What runs">
          <Fact name="Command">
            <Copyable text={line(session.command)} what="the command" />
          </Fact>
          <Fact name="Directory">
            <Copyable text={session.working_dir} what="the directory" />
          </Fact>
          {env.length > 0 && (
            <Fact name="Environment">
              <ul class="plain">
                {env.map((name) => (
                  <li key={name}>
                    <code>{name}</code> <span class="faint">hidden</span>
                  </li>
                ))}
              </ul>
            </Fact>
          )}
          <Fact name="Backend">{session.backend_type}</Fact>
          {session.pid !== undefined && <Fact name="Process">{session.pid}</Fact>}
          {session.keep && <Fact name="Without agentd">{KEEPS[session.keep]}</Fact>}
          {session.recording && <Fact name="Recording">{recordingText(session.recording)}</Fact>}
          <Fact name="Terminal">
            {session.size.cols} × {session.size.rows}, {session.viewers === 1 ? '1 viewer' : `${session.viewers} viewers`}
          </Fact>
        </Section>
      )}
      {options.length > 0 && (
        <Section title="Options and limits">
          {options.map(([name, value]) => (
            <Fact key={name} name={name}>
              {typeof value === 'string' ? value : <code>{JSON.stringify(value)}</code>}
            </Fact>
          ))}
        </Section>
      )}
      {session?.attach_command && session.attach_command.length > 0 && (
        <Section title="In your own terminal">
          <Fact name="Attach">
            <Copyable text={line(session.attach_command)} what="the attach command" />
          </Fact>
        </Section>
      )}
      {agent.history && agent.history.length > 0 && (
        <Section title="Earlier runs">
          {agent.history.map((run) => (
            <Fact key={run.started_at} name={moment(run.started_at)}>
              {exitText(run.exit)} <span class="faint">after {duration(Date.parse(run.ended_at) - Date.parse(run.started_at))}</span>
            </Fact>
          ))}
        </Section>
      )}
      <p class="faint">
        Id <code>{agent.id}</code>
      </p>
    </div>
  );
}

function dueText(at: string): string {
  const left = Date.parse(at) - now.value;
  return left > 0 ? `in ${duration(left)}` : 'now';
}

function Section({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section class="facts">
      <h2>{title}</h2>
      <dl>{children}</dl>
    </section>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Copyable({ text, what }: { text: string; what: string }) {
  return (
    <span class="copyable">
      <code>{text}</code>
      <Tool icon="copy" label={`Copy ${what}`} onClick={() => void copyText(text, what)} />
    </span>
  );
}
