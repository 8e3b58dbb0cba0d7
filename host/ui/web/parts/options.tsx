import { type Complaints, type Draft, type DraftGroup, emptyDraft, type Field as Option, type Shape } from '../service/options.ts';
import { Button, Tool } from './button.tsx';
import { Field, Input, type Wiring } from './field.tsx';
import { Prose } from './prose.tsx';

interface Props {
  fields: Option[];
  draft: DraftGroup;
  complaints: Complaints;
  path?: string;
  onDraft(draft: DraftGroup): void;
}

/** The backend's own options as a form. */
export function OptionsForm({ fields, draft, complaints, path = '', onDraft }: Props) {
  return (
    <>
      {fields.map((field) => (
        <OptionField
          key={field.name}
          field={field}
          path={path === '' ? field.name : `${path}.${field.name}`}
          value={draft[field.name] ?? ''}
          complaints={complaints}
          onValue={(value) => onDraft({ ...draft, [field.name]: value })}
        />
      ))}
    </>
  );
}

interface OptionProps {
  field: Option;
  path: string;
  value: Draft;
  complaints: Complaints;
  onValue(value: Draft): void;
}

function OptionField({ field, path, value, complaints, onValue }: OptionProps) {
  const { shape } = field;
  if (shape.kind === 'group') {
    return (
      <fieldset>
        <legend>{field.label}</legend>
        <Help text={field.help} />
        <OptionsForm fields={shape.fields} draft={value as DraftGroup} complaints={complaints} path={path} onDraft={onValue} />
      </fieldset>
    );
  }
  if (shape.kind === 'groups') {
    return <Groups field={field} fields={shape.fields} path={path} rows={value as DraftGroup[]} complaints={complaints} onRows={onValue} />;
  }
  if (shape.kind === 'texts') return <Texts field={field} texts={value as string[]} onTexts={onValue} />;
  return (
    <Field label={field.label} help={field.help} complaint={complaints[path]} required={field.required}>
      {(wiring) => <Scalar shape={shape} wiring={wiring} fallback={field.fallback} value={value as string} onValue={onValue} />}
    </Field>
  );
}

function Help({ text }: { text: string }) {
  if (text === '') return null;
  return (
    <p class="help">
      <Prose text={text} />
    </p>
  );
}

interface ScalarProps {
  shape: Shape;
  wiring: Wiring;
  fallback: string;
  value: string;
  onValue(value: string): void;
}

function Scalar({ shape, wiring, fallback, value, onValue }: ScalarProps) {
  switch (shape.kind) {
    case 'choice':
      return (
        <Select wiring={wiring} value={value} onValue={onValue}>
          <option value="">{fallback ? `Default: ${fallback}` : 'Default'}</option>
          {shape.choices.map((choice) => (
            <option key={choice.value} value={choice.value}>
              {choice.help ? `${choice.value} – ${choice.help}` : choice.value}
            </option>
          ))}
        </Select>
      );
    case 'flag':
      return (
        <Select wiring={wiring} value={value} onValue={onValue}>
          <option value="">{fallback ? `Default: ${fallback === 'true' ? 'yes' : 'no'}` : 'Default'}</option>
          <option value="true">yes</option>
          <option value="false">no</option>
        </Select>
      );
    case 'number':
      return <Input {...wiring} inputMode={shape.whole ? 'numeric' : 'decimal'} placeholder={fallback} value={value} onValue={onValue} />;
    case 'json':
      return <Input {...wiring} class="code" placeholder={fallback || 'JSON'} value={value} onValue={onValue} />;
    default:
      return <Input {...wiring} placeholder={fallback} value={value} onValue={onValue} />;
  }
}

interface SelectProps {
  wiring: Wiring;
  value: string;
  onValue(value: string): void;
  children: preact.ComponentChildren;
}

function Select({ wiring, value, onValue, children }: SelectProps) {
  return (
    <select {...wiring} value={value} onChange={(event) => onValue(event.currentTarget.value)}>
      {children}
    </select>
  );
}

function Texts({ field, texts, onTexts }: { field: Option; texts: string[]; onTexts(texts: string[]): void }) {
  return (
    <fieldset>
      <legend>{field.label}</legend>
      <Help text={field.help} />
      {texts.map((text, index) => (
        <div class="row" key={index}>
          <Input
            aria-label={`${field.label} ${index + 1}`}
            value={text}
            onValue={(value) => onTexts(texts.map((old, at) => (at === index ? value : old)))}
          />
          <Tool icon="close" label={`Remove ${field.label} ${index + 1}`} onClick={() => onTexts(texts.filter((_, at) => at !== index))} />
        </div>
      ))}
      <Button onClick={() => onTexts([...texts, ''])}>Add</Button>
    </fieldset>
  );
}

interface GroupsProps {
  field: Option;
  fields: Option[];
  path: string;
  rows: DraftGroup[];
  complaints: Complaints;
  onRows(rows: DraftGroup[]): void;
}

function Groups({ field, fields, path, rows, complaints, onRows }: GroupsProps) {
  return (
    <fieldset>
      <legend>{field.label}</legend>
      <Help text={field.help} />
      {rows.map((row, index) => (
        <fieldset key={index} class="inner">
          <legend>
            {field.label} {index + 1}
          </legend>
          <OptionsForm
            fields={fields}
            draft={row}
            complaints={complaints}
            path={`${path}.${index}`}
            onDraft={(draft) => onRows(rows.map((old, at) => (at === index ? draft : old)))}
          />
          <Button onClick={() => onRows(rows.filter((_, at) => at !== index))}>Remove</Button>
        </fieldset>
      ))}
      <Button onClick={() => onRows([...rows, emptyDraft(fields)])}>Add</Button>
    </fieldset>
  );
}
