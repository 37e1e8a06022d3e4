[[max_total_threads_per_threadgroup(32)]] kernel void vectors_of_four(device const float4* x_ [[buffer(0)]], device const int4* n_ [[buffer(1)]], device const uint* u_ [[buffer(2)]], device float4* y_ [[buffer(3)]], device int4* m_ [[buffer(4)]], constant int* dims_at [[buffer(5)]], uint3 group_at [[threadgroup_position_in_grid]], uint thread_at [[thread_index_in_threadgroup]]) {
  const int rows_ = dims_at[0];
  const int g_ = int(group_at.x + group_at.y * 32768u);
  if (g_ >= 2) { return; }
  const int t_ = int(thread_at);
  const int i_ = ((g_ * 32) + t_);
  if ((t_ < 8)) {
    const int j_ = (((g_ * 8) + t_) * 4);
    const float4 v_ = x_[(j_ >> 2)];
    const float4 t0 = x_[0];
    const float4 w_ = float4(v_.w, t0.x, v_.y, t0.z);
    y_[(j_ >> 2)] = select((v_ * float4(2.0f)), w_, (w_ < v_));
    m_[(j_ >> 2)] = n_[(j_ >> 2)];
  }
}
