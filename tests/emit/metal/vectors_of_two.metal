[[max_total_threads_per_threadgroup(32)]] kernel void vectors_of_two(device const float2* x_ [[buffer(0)]], device const int2* n_ [[buffer(1)]], device const uint* u_ [[buffer(2)]], device float2* y_ [[buffer(3)]], device int2* m_ [[buffer(4)]], constant int* dims_at [[buffer(5)]], uint3 group_at [[threadgroup_position_in_grid]], uint thread_at [[thread_index_in_threadgroup]]) {
  const int rows_ = dims_at[0];
  const int g_ = int(group_at.x + group_at.y * 32768u);
  if (g_ >= 2) { return; }
  const int t_ = int(thread_at);
  const int i_ = ((g_ * 32) + t_);
  if ((t_ < 16)) {
    const int j_ = (((g_ * 16) + t_) * 2);
    const float2 wide_r0_ = x_[1];
    const float2 v_ = (x_[(j_ >> 1)] * float2(wide_r0_.y));
    y_[(j_ >> 1)] = v_.yx;
    m_[(j_ >> 1)] = (n_[(j_ >> 1)] + int2(5));
  }
}
