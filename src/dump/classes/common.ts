import type { Site } from '../../errors.ts'
import type { Frame, HangFacts } from '../facts.ts'
import { where } from '../words.ts'

/** The first frame of the user's code in a stack that runs innermost first. */
export function firstUser(frames: readonly Frame[] | undefined): Frame | undefined {
  return frames?.find((frame) => frame.user)
}

/** The user's frames, for the stack of the error: the runner points at the first one. */
export function userStack(frames: readonly Frame[]): Frame[] {
  return frames.filter((frame) => frame.user)
}

/** `name() at path:line:col`, for evidence lines. */
export function named(frame: Frame): string {
  return /^<|^$/.test(frame.fn) ? where(frame.site) : `${frame.fn}() at ${where(frame.site)}`
}

/** ` in name()`, nothing for a function without a name. */
export function inFunction({ fn }: Frame): string {
  return /^<|^$/.test(fn) ? '' : ` in ${fn}()`
}

/** A copy without surprises for the verdict: `Frame` objects carry more than a site. */
export function siteOf(frame: Frame): Site {
  return { ...frame.site }
}

/** What every verdict may say of its circumstances. */
export function circumstances(facts: HangFacts): string[] {
  const evidence: string[] = []
  if (facts.concurrent.length > 0) {
    evidence.push(`${facts.concurrent.length} more running in the same worker at that time`)
  }
  return evidence
}
