[[max_total_threads_per_threadgroup(32)]] kernel void shared_memory(device const float4* x_ [[buffer(0)]], device const int* n_ [[buffer(1)]], device const uint* u_ [[buffer(2)]], device float* y_ [[buffer(3)]], device int* m_ [[buffer(4)]], constant int* dims_at [[buffer(5)]], uint3 group_at [[threadgroup_position_in_grid]], uint thread_at [[thread_index_in_threadgroup]]) {
  const int rows_ = dims_at[0];
  const int g_ = int(group_at.x + group_at.y * 32768u);
  if (g_ >= 2) { return; }
  threadgroup float a_[32];
  threadgroup float4 b_[8];
  const int t_ = int(thread_at);
  const int i_ = ((g_ * 32) + t_);
  const float4 wide_r0_ = x_[(i_ >> 2)];
  const bool odd_r1_ = ((i_ & 1) != 0);
  a_[t_] = (((i_ & 2) != 0) ? (odd_r1_ ? wide_r0_.w : wide_r0_.z) : (odd_r1_ ? wide_r0_.y : wide_r0_.x));
  if ((t_ < 8)) {
    b_[t_] = x_[t_];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device);
  const float4 t0 = b_[(t_ >> 2)];
  y_[i_] = (a_[(31 - t_)] + t0.z);
}
