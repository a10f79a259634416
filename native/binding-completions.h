// Operations in flight: keeps what they use alive, and brings their outcomes back to JavaScript, many at a time.
#pragma once

#include <napi.h>

#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "operations.h"
#include "threads.h"

class Completions final : public CompletionSink {
 public:
  // False when Node gives no wake-up handle; an exception is pending then.
  bool open(napi_env env) {
    env_ = env;
    napi_value name = nullptr;
    return napi_create_string_utf8(env, "galleon", NAPI_AUTO_LENGTH, &name) == napi_ok &&
           napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, onWakeUp,
                                           &wakeUp_) == napi_ok &&
           // Only operations in flight keep a process alive.
           napi_unref_threadsafe_function(env, wakeUp_) == napi_ok;
  }

  // After the lanes have stopped. Outcomes that nobody heard of are dropped: nothing was acknowledged. Idempotent.
  void close() {
    if (wakeUp_ == nullptr) return;
    for (auto& [operation, flight] : flights_) napi_delete_reference(env_, flight.held);
    flights_.clear();
    napi_release_threadsafe_function(wakeUp_, napi_tsfn_abort);
    wakeUp_ = nullptr;
  }

  // Queues `operation` on the lane. `held` is an array: element 0 is called with the outcome, and everything in it
  // lives until then. For open operations element 1 is the status array. Returns 0 or the lane's negative errno, in
  // which case nothing is called.
  int submit(Lane& lane, std::unique_ptr<Operation> operation, napi_value held, OpenOperation* open, int times) {
    Flight flight;
    flight.open = open;
    if (napi_create_reference(env_, held, 1, &flight.held) != napi_ok) return -ENOMEM;
    Operation* const borrowed = operation.get();
    flight.operation = std::move(operation);
    // First, because the operation may be done before submit() returns.
    if (flights_.empty()) napi_ref_threadsafe_function(env_, wakeUp_);
    const napi_ref reference = flight.held;
    flights_.emplace(borrowed, std::move(flight));
    const int status = lane.submit(borrowed, times);
    if (status != 0) {
      flights_.erase(borrowed);
      napi_delete_reference(env_, reference);
      if (flights_.empty()) napi_unref_threadsafe_function(env_, wakeUp_);
    }
    return status;
  }

  // On a lane's thread.
  void finished(Operation* operation) override {
    bool wake;
    {
      std::lock_guard<std::mutex> hold(mutex_);
      wake = finished_.empty();
      finished_.push_back(operation);
    }
    // Who finds the list empty wakes the loop; the rest ride along.
    if (wake) napi_call_threadsafe_function(wakeUp_, nullptr, napi_tsfn_nonblocking);
  }

 private:
  struct Flight {
    std::unique_ptr<Operation> operation;
    napi_ref held = nullptr;
    OpenOperation* open = nullptr;
  };

  static void onWakeUp(napi_env env, napi_value, void* context, void*) {
    // Without an environment the loop is being torn down.
    if (env != nullptr) static_cast<Completions*>(context)->deliver();
  }

  void deliver() {
    std::vector<Operation*> batch;
    {
      std::lock_guard<std::mutex> hold(mutex_);
      batch.swap(finished_);
    }
    for (Operation* operation : batch) {
      napi_handle_scope scope;
      if (napi_open_handle_scope(env_, &scope) != napi_ok) return;
      deliverOne(operation);
      napi_close_handle_scope(env_, scope);
    }
  }

  void deliverOne(Operation* operation) {
    const auto found = flights_.find(operation);
    Flight flight = std::move(found->second);
    flights_.erase(found);
    if (flights_.empty()) napi_unref_threadsafe_function(env_, wakeUp_);

    napi_value held = nullptr;
    napi_value callback = nullptr;
    napi_value receiver = nullptr;
    napi_value outcome = nullptr;
    const bool found_all = napi_get_reference_value(env_, flight.held, &held) == napi_ok &&
                           napi_get_element(env_, held, 0, &callback) == napi_ok &&
                           napi_get_undefined(env_, &receiver) == napi_ok &&
                           napi_create_double(env_, static_cast<double>(operation->status), &outcome) == napi_ok;
    napi_delete_reference(env_, flight.held);
    if (flight.open != nullptr && found_all) writeStatuses(held, flight.open->plan.rows);
    // Frees the plan, and with it perhaps the last hold on a released key, before JavaScript goes on.
    flight.operation.reset();
    if (!found_all) return;
    if (napi_call_function(env_, receiver, callback, 1, &outcome, nullptr) == napi_ok) return;
    // Whatever a callback throws goes where uncaught errors go; the callbacks behind it still run.
    napi_value thrown = nullptr;
    bool pending = false;
    if (napi_is_exception_pending(env_, &pending) == napi_ok && pending &&
        napi_get_and_clear_last_exception(env_, &thrown) == napi_ok) {
      napi_fatal_exception(env_, thrown);
    }
  }

  // The array may have been detached meanwhile: ask again where it lies.
  void writeStatuses(napi_value held, const std::vector<OpenRow>& rows) {
    napi_value array = nullptr;
    napi_typedarray_type type;
    size_t length = 0;
    void* data = nullptr;
    if (napi_get_element(env_, held, 1, &array) != napi_ok ||
        napi_get_typedarray_info(env_, array, &type, &length, &data, nullptr, nullptr) != napi_ok || data == nullptr) {
      return;
    }
    for (const OpenRow& row : rows) {
      if (row.row < length) static_cast<int32_t*>(data)[row.row] = row.status;
    }
  }

  napi_env env_ = nullptr;
  napi_threadsafe_function wakeUp_ = nullptr;
  // Main thread only.
  std::unordered_map<Operation*, Flight> flights_;

  std::mutex mutex_;
  std::vector<Operation*> finished_;
};
