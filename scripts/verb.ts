/** What the commands of the binary have in common. */
import { parseArgs } from 'node:util'
import { type ArgsDef, defineCommand, renderUsage } from 'citty'
import { UsageError } from '../src/errors.ts'

/** One command of the binary. */
export interface Verb {
  description: string
  usage(): Promise<string>
  /** Throws a `UsageError` for wrong arguments. */
  run(args: string[]): Promise<void>
}

/** An option of a command, for its usage text and for {@link readArgs}. */
export interface Option {
  type: 'boolean' | 'string'
  /** May be given more than once; its value is a list. */
  multiple?: boolean
  /** What stands for the value in the usage text. */
  valueHint?: string
  description: string
}

type Value<O extends Option> = O['type'] extends 'boolean' ? boolean : O extends { multiple: true } ? string[] : string

/** Values of the options that were given. */
export type Values<Options extends Record<string, Option>> = { [Name in keyof Options]?: Value<Options[Name]> }

/**
 * Reads the arguments of a command. citty takes any option and gives one that was misspelled to nobody; a command that
 * ends processes has to refuse it.
 *
 * @param most how many arguments without an option name there may be
 * @throws UsageError
 */
export function readArgs<const Options extends Record<string, Option>>(
  args: string[],
  options: Options,
  most = 0,
): { values: Values<Options>; positionals: string[] } {
  const known = `known: ${Object.keys(options)
    .map((name) => `--${name}`)
    .join(', ')}`
  let found: { values: object; positionals: string[] }
  try {
    const config = Object.fromEntries(
      Object.entries(options).map(([name, { type, multiple = false }]) => [name, { type, multiple }]),
    )
    found = parseArgs({ args: joinNegative(args, options), options: config, allowPositionals: true, strict: true })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (!code?.startsWith('ERR_PARSE_ARGS')) throw error
    const option = /'(-[^']*)'/.exec(message)?.[1]
    if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') throw new UsageError(`unknown option ${option} (${known})`)
    throw new UsageError(message.split('\n', 1)[0] ?? message)
  }
  if (found.positionals.length > most) {
    const expected = most === 0 ? 'no argument' : `at most ${most} argument${most === 1 ? '' : 's'}`
    throw new UsageError(`expected ${expected} without an option, got ${found.positionals.join(' ')} (${known})`)
  }
  return found as { values: Values<Options>; positionals: string[] }
}

/** `--grace -1` is a value out of range, and no option `-1`. */
function joinNegative(args: string[], options: Record<string, Option>): string[] {
  const joined: string[] = []
  for (let i = 0; i < args.length; i++) {
    const [arg, next] = [args[i]!, args[i + 1]]
    if (arg === '--') return [...joined, ...args.slice(i)]
    const takes = Object.hasOwn(options, arg.slice(2)) && options[arg.slice(2)]?.type === 'string'
    if (arg.startsWith('--') && takes && next !== undefined && /^-\d/.test(next)) joined.push(`${arg}=${args[++i]}`)
    else joined.push(arg)
  }
  return joined
}

/** Usage text of a command, from the same options. */
export function usageText(
  name: string,
  description: string,
  options: Record<string, Option>,
  positional?: { name: string; description: string },
): Promise<string> {
  const args: ArgsDef = Object.fromEntries(
    Object.entries(options).map(([key, { type, valueHint, description }]) => [key, { type, valueHint, description }]),
  )
  if (positional) args[positional.name] = { type: 'positional', required: false, description: positional.description }
  return renderUsage(defineCommand({ meta: { name: `harrow ${name}`, description }, args }))
}

/**
 * A whole number in an option.
 *
 * @throws UsageError when it is none, or out of range
 */
export function readNumber(option: string, text: string, least: number, most: number): number {
  const number = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (number >= least && number <= most) return number
  throw new UsageError(`${option} expects a whole number from ${least} to ${most}, got ${JSON.stringify(text)}`)
}
