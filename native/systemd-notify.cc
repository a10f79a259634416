#include "systemd-notify.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

bool notifySystemd(const std::string& socketPath, const std::string& state) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (socketPath.empty() || (socketPath[0] != '/' && socketPath[0] != '@')) return false;
  // A path needs its closing zero; an abstract name has none.
  const size_t room = sizeof address.sun_path - (socketPath[0] == '/' ? 1 : 0);
  if (socketPath.size() > room || state.empty()) return false;
  memcpy(address.sun_path, socketPath.data(), socketPath.size());
  if (socketPath[0] == '@') address.sun_path[0] = '\0';
  const socklen_t addressBytes = static_cast<socklen_t>(offsetof(struct sockaddr_un, sun_path) + socketPath.size() +
                                                        (socketPath[0] == '/' ? 1 : 0));

  const int channel = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (channel < 0) return false;
  // A manager that does not read must not stop us for longer than this.
  const struct timeval patience = {1, 0};
  (void)setsockopt(channel, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  ssize_t sent;
  do {
    sent = sendto(channel, state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<struct sockaddr*>(&address),
                  addressBytes);
  } while (sent < 0 && errno == EINTR);
  close(channel);
  return sent == static_cast<ssize_t>(state.size());
}
