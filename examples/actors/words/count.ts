/** Counts words; one actor has one share of the text. */
export async function countWords(lines: string[]): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for (const word of lines
    .join(' ')
    .toLowerCase()
    .match(/[a-z']+/g) ?? [])
    counts.set(word, (counts.get(word) ?? 0) + 1)
  return counts
}
