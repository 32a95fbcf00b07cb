/** Where a `fork` actor finds its end of the link: behind its output and the channel of Node. */
export const LINK_FD = 4
