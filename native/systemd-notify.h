// Tells the service manager a state (sd_notify(3)): one unix datagram.
#pragma once

#include <string>

// `socketPath` as in $NOTIFY_SOCKET: an absolute path, or '@' and an abstract name. Whether it was sent.
bool notifySystemd(const std::string& socketPath, const std::string& state);
