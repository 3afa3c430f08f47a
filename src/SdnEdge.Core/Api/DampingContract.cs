namespace SdnEdge.Core.Api;

/// <summary>
/// When a PE stops following the moves of a prefix: more than <paramref name="Moves"/> of them within <paramref name="WithinSeconds"/>.
/// </summary>
/// <param name="Moves">So many moves within the time are followed; one more is not. 0: no damping.</param>
/// <param name="WithinSeconds">The time, seconds.</param>
public sealed record MoveDampingInfo(int Moves, int WithinSeconds);

/// <summary>A prefix whose moves came too fast and are not followed for a while: <c>GET /v1/bgp/damped</c>.</summary>
/// <param name="Prefix">The prefix.</param>
/// <param name="Move">Number of the last move that was followed: its owner is held on to.</param>
/// <param name="Seconds">For how long already, seconds.</param>
/// <param name="SecondsLeft">Until it is let go, seconds, if it does not move again.</param>
/// <param name="HeldBack">Moves not followed so far.</param>
public sealed record DampedInfo(string Prefix, long Move, double Seconds, double SecondsLeft, long HeldBack);
