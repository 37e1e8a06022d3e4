[[max_total_threads_per_threadgroup(32)]] kernel void compare_ints(device const float* x_ [[buffer(0)]], device const int* n_ [[buffer(1)]], device const uint* u_ [[buffer(2)]], device float* y_ [[buffer(3)]], device int* m_ [[buffer(4)]], constant int* dims_at [[buffer(5)]], uint3 group_at [[threadgroup_position_in_grid]], uint thread_at [[thread_index_in_threadgroup]]) {
  const int rows_ = dims_at[0];
  const int g_ = int(group_at.x + group_at.y * 32768u);
  if (g_ >= 2) { return; }
  const int t_ = int(thread_at);
  const int i_ = ((g_ * 32) + t_);
  const int a_ = n_[i_];
  const int b_ = n_[(63 - i_)];
  m_[i_] = (((((a_ < b_) ? 1 : 0) + ((a_ <= b_) ? 2 : 0)) + ((a_ == b_) ? 4 : 0)) + ((u_[i_] < u_[1]) ? 8 : 0));
}
