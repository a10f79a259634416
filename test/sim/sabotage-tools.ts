/** The same object with some methods replaced; the others are bound to the real one. */
export function altered<T extends object>(real: T, changes: Partial<T>): T {
  return new Proxy(real, {
    get(target, name): unknown {
      const value: unknown = Reflect.get(name in changes ? changes : target, name);
      return typeof value === 'function' ? (value as (...values: unknown[]) => unknown).bind(target) : value;
    },
  });
}

/** Replaces a method of a class until the result is called. */
export function replaced<T extends object, K extends keyof T>(
  prototype: T,
  name: K,
  make: (real: T[K]) => T[K],
): () => void {
  const real = prototype[name];
  prototype[name] = make(real);
  return () => {
    prototype[name] = real;
  };
}
