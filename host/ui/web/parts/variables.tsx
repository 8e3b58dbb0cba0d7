import { useState } from 'preact/hooks';
import { Button, Tool } from './button.tsx';
import { Input } from './field.tsx';

export interface Variable {
  name: string;
  value: string;
}

/** Environment variables; values are hidden unless asked for. */
export function Variables({ variables, onVariables }: { variables: Variable[]; onVariables(variables: Variable[]): void }) {
  const [shown, setShown] = useState(false);
  const change = (index: number, to: Partial<Variable>) =>
    onVariables(variables.map((variable, at) => (at === index ? { ...variable, ...to } : variable)));
  return (
    <fieldset>
      <legend>Environment</legend>
      <p class="help">On top of the service's own. Values are never shown again.</p>
      {variables.map((variable, index) => (
        <div class="row" key={index}>
          <Input aria-label={`Variable ${index + 1}`} placeholder="NAME" class="code" value={variable.name} onValue={(name) => change(index, { name })} />
          <Input
            aria-label={`Value of ${variable.name || `variable ${index + 1}`}`}
            placeholder="value"
            class="code"
            type={shown ? 'text' : 'password'}
            autocomplete="new-password"
            value={variable.value}
            onValue={(value) => change(index, { value })}
          />
          <Tool
            icon="close"
            label={`Remove ${variable.name || `variable ${index + 1}`}`}
            onClick={() => onVariables(variables.filter((_, at) => at !== index))}
          />
        </div>
      ))}
      <div class="row">
        <Button onClick={() => onVariables([...variables, { name: '', value: '' }])}>Add a variable</Button>
        {variables.length > 0 && <Button onClick={() => setShown(!shown)}>{shown ? 'Hide values' : 'Show values'}</Button>}
      </div>
    </fieldset>
  );
}

/** The variables as the service takes them; a complaint when one has a value and no good name. */
export function environment(variables: Variable[]): { env: Record<string, string>; complaint: string | null } {
  const env: Record<string, string> = {};
  for (const { name, value } of variables) {
    if (name === '' && value === '') continue;
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      return { env, complaint: name === '' ? 'A value has no name.' : `“${name}” is not the name of a variable.` };
    }
    env[name] = value;
  }
  return { env, complaint: null };
}
