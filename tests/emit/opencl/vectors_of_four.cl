__kernel __attribute__((reqd_work_group_size(32, 1, 1)))
void vectors_of_four(__global const char* m0, __global const char* m1, __global const char* m2, __global char* m3, __global char* m4, int rows_, long o0, long o1, long o2, long o3, long o4) {
  __global const float4* restrict x_ = (__global const float4*)(m0 + o0);
  __global const int4* restrict n_ = (__global const int4*)(m1 + o1);
  __global const uint* restrict u_ = (__global const uint*)(m2 + o2);
  __global float4* restrict y_ = (__global float4*)(m3 + o3);
  __global int4* restrict m_ = (__global int4*)(m4 + o4);
  const int g_ = (int)get_group_id(0);
  const int t_ = (int)get_local_id(0);
  const int i_ = ((g_ * 32) + t_);
  if ((t_ < 8)) {
    const int j_ = (((g_ * 8) + t_) * 4);
    const float4 v_ = x_[(j_ >> 2)];
    const float4 t0 = x_[0];
    const float4 w_ = ((float4)(v_.w, t0.x, v_.y, t0.z));
    y_[(j_ >> 2)] = select((v_ * ((float4)(2.0f))), w_, (w_ < v_));
    m_[(j_ >> 2)] = n_[(j_ >> 2)];
  }
}
