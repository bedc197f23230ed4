// Shared objects of a machine, and the objhash that names them in an image.
#pragma once

#include <atomic>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <cstdint>
#include <vector>

#include "format/error.h"

namespace ckpt::core {

// What the objhash can name: counted by reference, and with room for its own objref, so that
// looking one up costs no search. The tree of tasks is driven by one thread at a time, and its
// objects are counted without atomic operations: those would make a walk over a million of them
// wait for each. What several threads may hold is a SharedObject.
class Object {
 public:
  virtual ~Object() = default;
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  [[nodiscard]] std::uint32_t use_count() const { return count_.load(std::memory_order_relaxed); }

  friend void intrusive_ptr_add_ref(const Object* object) noexcept {
    std::atomic<std::uint32_t>& count = object->count_;
    if (object->shared_)
      count.fetch_add(1, std::memory_order_relaxed);
    else
      count.store(object->use_count() + 1, std::memory_order_relaxed);
  }
  friend void intrusive_ptr_release(const Object* object) noexcept {
    std::atomic<std::uint32_t>& count = object->count_;
    if (object->shared_) {
      if (count.fetch_sub(1, std::memory_order_acq_rel) == 1) delete object;
      return;
    }
    const std::uint32_t left = object->use_count() - 1;
    count.store(left, std::memory_order_relaxed);
    if (left == 0) delete object;
  }

 private:
  friend class ObjHash;
  friend class SharedObject;
  explicit Object(bool shared) : shared_(shared) {}

  mutable std::atomic<std::uint32_t> count_{0};
  const bool shared_ = false;
  std::uint32_t hash_ = 0;  // id of the ObjHash that gave objref_; 0: none
  std::int32_t objref_ = 0;
};

// References to it may be taken and dropped by any thread.
class SharedObject : public Object {
 public:
  SharedObject() : Object(true) {}
};

template <class T>
using Ref = boost::intrusive_ptr<T>;

// Gives an objref to every object at its first encounter and holds a reference of its own to each
// until it is discarded; nothing is ever removed (linux-cr's objhash; LC-1). Objrefs count up
// from 1. An object is in at most one living ObjHash at a time; a second one that meets it is our
// mistake.
class ObjHash {
 public:
  explicit ObjHash(std::uint32_t id) : id_(id) { CKPT_ASSERT(id != 0); }
  ~ObjHash() {
    for (std::size_t i = 0; i < objects_.size(); ++i) {
      if (i + 16 < objects_.size()) __builtin_prefetch(objects_[i + 16].get(), 1);
      objects_[i]->hash_ = 0;
      objects_[i].reset();
    }
  }
  ObjHash(const ObjHash&) = delete;
  ObjHash& operator=(const ObjHash&) = delete;

  // The object's objref; `*is_new` tells whether it was given by this call.
  std::int32_t lookup_add(Object& object, bool* is_new) {
    *is_new = object.hash_ != id_;
    if (*is_new) {
      CKPT_ASSERT(object.hash_ == 0);
      objects_.emplace_back(&object);
      object.hash_ = id_;
      object.objref_ = static_cast<std::int32_t>(objects_.size());
    }
    return object.objref_;
  }
  // The objref, or 0 if the object was never added.
  [[nodiscard]] std::int32_t lookup(const Object& object) const {
    return object.hash_ == id_ ? object.objref_ : 0;
  }
  [[nodiscard]] std::uint32_t id() const { return id_; }
  [[nodiscard]] Object& object(std::int32_t ref) const {
    CKPT_ASSERT(ref >= 1 && static_cast<std::size_t>(ref) <= objects_.size());
    return *objects_[static_cast<std::size_t>(ref) - 1];
  }
  void reserve(std::size_t n) { objects_.reserve(n); }

 private:
  std::uint32_t id_;
  std::vector<Ref<Object>> objects_;
};

}  // namespace ckpt::core
