/** By which of two ways a request goes on to the store: because of its volume's guarantee, or in its volume's turn. */
export const Way = { GUARANTEE: 0, TURN: 1 } as const;
export type Way = (typeof Way)[keyof typeof Way];
